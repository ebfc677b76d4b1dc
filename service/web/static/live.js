// Keeps a page current. The page names the address of its live part:
// <main data-live="/fragments/fleet">. Without this script the page is complete, but it is not updated.
// Only lines that changed are sent; times that run are counted here.
"use strict";

(() => {
  const PAUSE = 1000; // ms between two requests
  const PAUSE_AFTER_ERROR = 3000;
  const PATIENCE = 5000; // ms that the service has to answer; a frozen one keeps the connection open
  const CHANGES = "application/vnd.tandemcal.changes+json";
  const root = document.querySelector("[data-live]");
  const age = document.querySelector("[data-age]");
  const old = document.querySelector("[data-old]");
  const warning = document.querySelector("[data-warning]");
  let etag = null;
  let lines = []; // of the part as it was sent last
  let answeredAt = Date.now();
  let answering = true;
  let ahead = -Infinity; // ms by which the clock of the service is ahead of ours

  // Times that run.

  const MINUTE = 60, HOUR = 3600, DAY = 86400; // s

  function duration(seconds) {
    if (seconds < MINUTE) return `${seconds} s`;
    const minutes = Math.floor(seconds / MINUTE);
    if (seconds < HOUR) return `${minutes} min ${seconds % MINUTE} s`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  function rough(seconds) {
    if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
    return seconds < DAY ? `${Math.floor(seconds / HOUR)} h` : `${Math.floor(seconds / DAY)} d`;
  }

  const KINDS = {
    since: (passed) => duration(Math.max(0, passed)),
    ago: (passed) => (passed < MINUTE ? "now" : `${rough(passed)} ago`),
    until: (passed) => {
      if (passed >= 0) return "now";
      return -passed < MINUTE ? `in ${-passed} s` : `in ${rough(-passed)}`;
    },
  };

  function count(part) {
    const now = Date.now() + (Number.isFinite(ahead) ? ahead : 0);
    for (const [kind, words] of Object.entries(KINDS)) {
      for (const time of part.querySelectorAll(`time[data-${kind}]`)) {
        const text = words(Math.floor((now - Date.parse(time.dateTime)) / 1000));
        if (time.textContent !== text) time.textContent = text;
      }
    }
  }

  // The age is shown outside the live part and outside the live region: it changes each second.
  function showAge() {
    const seconds = Math.round((Date.now() - answeredAt) / 1000);
    age.textContent = root.querySelector("[data-ended]") ? "" : `updated ${seconds} s ago`;
    old.textContent = age.textContent;
    warning.hidden = answering;
  }

  // Changes of the page: elements stay where they can, with focus, selection and scrolling.

  function takeAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      const kept = name === "open" && old.nodeName === "DETAILS"; // the reader opened it
      if (!kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function update(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old !== root) takeAttributes(old, fresh);
    updateChildren(old, fresh);
  }

  const isSpace = (node) => node.nodeType === Node.TEXT_NODE && !/\S/.test(node.nodeValue);

  // Children by what they are: their id, else what they are labelled by, else the how-many-th they
  // are of their kind. Space between them is left as it is.
  function byName(parent) {
    const counts = {};
    const named = new Map();
    for (const child of parent.childNodes) {
      if (isSpace(child)) continue;
      const kind = child.nodeName;
      const label = child.id || child.getAttribute?.("aria-labelledby");
      counts[kind] = (counts[kind] ?? 0) + 1;
      named.set(label ? `${kind} ${label}` : `${kind} ${counts[kind]}`, child);
    }
    return named;
  }

  function updateChildren(old, fresh) {
    const [known, wanted] = [byName(old), byName(fresh)];
    for (const [name, child] of known) if (!wanted.has(name)) child.remove();
    let last = null;
    for (const [name, child] of wanted) {
      let next = last ? last.nextSibling : old.firstChild;
      while (next && isSpace(next)) next = next.nextSibling;
      const same = known.get(name);
      if (same && same !== next) old.insertBefore(same, next);
      if (same) update(same, child);
      else old.insertBefore(child, next);
      last = same ?? child;
    }
  }

  // Requests.

  async function text(answer) {
    if (!answer.headers.get("Content-Type").startsWith(CHANGES)) return answer.text();
    const pieces = await answer.json();
    return pieces
      .map((piece) => (typeof piece === "string" ? piece : lines.slice(...piece).join("\n")))
      .join("\n");
  }

  async function look() {
    const headers = { Accept: `${CHANGES}, text/html` };
    if (etag) headers["If-None-Match"] = etag;
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(root.dataset.live, { headers, signal, credentials: "same-origin" });
    if (answer.status === 401) {
      const here = encodeURIComponent(location.pathname + location.search);
      location.href = `/login?ended=1&next=${here}`;
    }
    if (answer.status >= 400) throw new Error(`status ${answer.status}`);
    const date = Date.parse(answer.headers.get("Date")); // rounded down, and late: the most is nearest
    if (date) ahead = Math.max(ahead, date - Date.now());
    if (answer.status !== 200) return;
    const whole = await text(answer);
    [lines, etag] = [whole.split("\n"), answer.headers.get("ETag")]; // once the whole part has come
    const fresh = new DOMParser().parseFromString(whole, "text/html").body;
    count(fresh);
    update(root, fresh);
    document.dispatchEvent(new Event("updated"));
  }

  let timer;

  async function follow() {
    clearTimeout(timer);
    let pause = PAUSE;
    if (!document.hidden) {
      try {
        await look();
        [answeredAt, answering] = [Date.now(), true];
      } catch {
        answering = false;
        pause = PAUSE_AFTER_ERROR;
      }
      showAge();
    }
    clearTimeout(timer);
    if (!root.querySelector("[data-ended]")) timer = setTimeout(follow, pause);
  }

  count(document);
  setInterval(() => count(document), 500);
  if (!root) return;
  if (!root.querySelector("[data-ended]")) {
    timer = setTimeout(follow, PAUSE);
    document.addEventListener("visibilitychange", () => document.hidden || follow());
  }
  showAge();
  setInterval(showAge, 1000);
})();
