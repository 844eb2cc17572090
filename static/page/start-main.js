// The start page is put together here.

import { Api } from "./api.js";
import { browserClock as clock } from "./clock.js";
import { $ } from "./dom.js";
import { Question } from "./question.js";
import { StartPage } from "./start.js";

export function runStartPage() {
  const api = new Api({ fetch: (path, options) => fetch(path, options), now: () => Date.now() });
  const page = new StartPage($("start-view"), { clock, api, question: new Question($("ask")) });
  $("start-view").hidden = false;
  document.addEventListener("visibilitychange", () => page.poll());
  window.addEventListener("online", () => page.poll());
  window.addEventListener("pageshow", () => page.enableCreate());
  page.showProvider();
  page.poll();
}
