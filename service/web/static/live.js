// Keeps a page current. The page names the address of its live part:
// <main data-live="/fragments/fleet">. Without this script the page is complete, but it is not updated.
"use strict";

(() => {
  const root = document.querySelector("[data-live]");
  if (!root) return;

  const PAUSE = 1000; // ms between two requests
  const PAUSE_AFTER_ERROR = 5000;
  const PATIENCE = 5000; // ms that the service has to answer; a frozen one keeps the connection open
  const age = document.querySelector("[data-age]");
  const warning = document.querySelector("[data-warning]");
  let etag = null;
  let answeredAt = Date.now();
  let answering = true;

  // The age is shown outside the live part and outside the live region: it changes each second.
  function showAge() {
    const seconds = Math.round((Date.now() - answeredAt) / 1000);
    const ended = root.querySelector("[data-ended]");
    age.textContent = ended ? "" : `updated ${seconds} s ago`;
    warning.hidden = answering;
  }

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

  // A part that the reader opened or closed stays so.
  function keepOpen(fresh) {
    const shown = root.querySelectorAll("details");
    fresh.querySelectorAll("details").forEach((part, place) => {
      if (shown[place]) part.open = shown[place].open;
    });
  }

  async function look() {
    const headers = etag ? { "If-None-Match": etag } : {};
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(root.dataset.live, { headers, signal, credentials: "same-origin" });
    if (answer.status === 401) location.reload(); // signed out: the reloaded page leads to the login
    if (answer.status >= 400) throw new Error(`status ${answer.status}`);
    if (answer.status !== 200) return;
    const fresh = root.cloneNode(false);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    etag = answer.headers.get("ETag"); // only once the whole part has come
    fresh.append(...page.body.childNodes);
    keepOpen(fresh);
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
        [answeredAt, answering] = [Date.now(), true];
      } catch {
        answering = false;
        pause = PAUSE_AFTER_ERROR;
      }
    }
    if (!root.querySelector("[data-ended]")) setTimeout(follow, pause);
  }

  if (!root.querySelector("[data-ended]")) setTimeout(follow, PAUSE);
  showAge();
  setInterval(showAge, 1000);
})();
