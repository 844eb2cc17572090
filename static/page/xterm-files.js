// The files of xterm.js: loaded from this server, else from the CDN, where they are pinned by their hashes.

const TIMEOUT_MS = 15000;   // of one file

const FILES = {
  css: ["xterm@5.5.0", "css/xterm.css", "sha384-8Xk9wy/gzEDUKrXtrmCFa2bBuK3BpjpDuL/p0SeKQX19Khl/M+lHOgD/CyYf7efP"],
  xterm: ["xterm@5.5.0", "lib/xterm.js", "sha384-M169f14mRZOXm3hD/v2Ti0ThIT/RnAQagXA9nlE15yHAtrW19gdePJh/HaTzUOe/"],
  fit: ["addon-fit@0.10.0", "lib/addon-fit.js", "sha384-iF+jqbuti4XlB64clWgFWYEscb+UnSRv3VgVikGYZu+otNFnSHr7y7NcKfBnGizn"],
  webgl: ["addon-webgl@0.18.0", "lib/addon-webgl.js", "sha384-AkzdQDeATxpW8V7I2EPcwg17qAoLQMjEFHb//1QaAAIyIlbDAHGKno5+huH7RKxq"],
  unicode: ["addon-unicode11@0.8.0", "lib/addon-unicode11.js", "sha384-7DkEj65mwuJpyTemyRshYB1TDCUcpXHiCcSt0agkXn8Zz8nOqajgB6EoeULHiS1O"],
  links: ["addon-web-links@0.11.0", "lib/addon-web-links.js", "sha384-Zb/L38m4THfRbsxxv8gWAi8cQ6xcWQnv0BgR0qwbTDwtBDaPi6pkyfgfBIH6C8ZG"],
};

// Only xterm.js itself and its fit add-on are needed.
export async function loadXterm() {
  const { css, xterm, fit, webgl, unicode, links } = FILES;
  const optional = [webgl, unicode, links].map((file) => loadFile(file).catch(() => {}));
  await Promise.all([loadFile(css), loadFile(xterm), loadFile(fit), ...optional]);
}

async function loadFile([packageName, path, integrity]) {
  try {
    await loadElement(`/xterm/${packageName.split("@")[0]}/${path}`);
  } catch {
    await loadElement(`https://cdn.jsdelivr.net/npm/@xterm/${packageName}/${path}`, integrity);
  }
}

function loadElement(url, integrity) {
  const isScript = url.endsWith(".js");
  const node = document.createElement(isScript ? "script" : "link");
  if (integrity) Object.assign(node, { integrity, crossOrigin: "anonymous" });
  Object.assign(node, isScript ? { src: url } : { rel: "stylesheet", href: url });
  return new Promise((loaded, failed) => {
    node.onload = loaded;
    node.onerror = () => failed(new Error(url));
    setTimeout(node.onerror, TIMEOUT_MS);   // a CDN that does not answer must not block the page; after a load this does nothing
    document.head.append(node);
  });
}
