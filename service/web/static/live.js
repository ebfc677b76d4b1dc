// Keeps a page current. The page names the address of its live part:
// <main data-live="/fragments/fleet">. Without this script the page is complete, but it is not updated.
"use strict";

(() => {
  const root = document.querySelector("[data-live]");
  if (!root) return;

  const PAUSE = 1000; // ms between two requests
  const PAUSE_AFTER_ERROR = 5000;
  let etag = null;

  // Replace only what changed, so that selection and focus elsewhere stay.
  function update(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    const alike = old.nodeType === Node.ELEMENT_NODE
      && old.childNodes.length > 0
      && old.childNodes.length === fresh.childNodes.length
      && old.cloneNode(false).isEqualNode(fresh.cloneNode(false));
    if (!alike) {
      old.replaceWith(fresh);
      return;
    }
    const after = [...fresh.childNodes];
    [...old.childNodes].forEach((node, index) => update(node, after[index]));
  }

  async function look() {
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(root.dataset.live, { headers, credentials: "same-origin" });
    if (answer.status === 401) location.reload(); // signed out: the reloaded page leads to the login
    if (answer.status >= 400) throw new Error(`status ${answer.status}`);
    root.classList.remove("stale");
    if (answer.status !== 200) return;
    etag = answer.headers.get("ETag");
    const fresh = root.cloneNode(false);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    fresh.append(...page.body.childNodes);
    const [before, after] = [[...root.children], [...fresh.children]];
    if (before.length === after.length) {
      before.forEach((element, index) => update(element, after[index]));
    } else {
      root.replaceChildren(...after);
    }
  }

  async function follow() {
    let pause = PAUSE;
    if (!document.hidden) {
      try {
        await look();
      } catch {
        root.classList.add("stale");
        pause = PAUSE_AFTER_ERROR;
      }
    }
    if (!root.querySelector("[data-ended]")) setTimeout(follow, pause);
  }

  if (!root.querySelector("[data-ended]")) setTimeout(follow, PAUSE);
})();
