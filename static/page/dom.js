// Small helpers for the document. Foreign text only ever becomes a text node.

export const $ = (id) => document.getElementById(id);

// An unchanged live region must not be read out again.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function showNote(node, text) {
  setText(node, text || "");
  node.hidden = !text;
}

// element("td", { className: "x" }, child, "text")
export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
