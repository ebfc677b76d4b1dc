// The strip of all chips: one tab stop, in which arrow keys go from chip to chip.
// Names are asked for when somebody looks at the strip: 10,000 of them would make the page large.
"use strict";

(() => {
  const CELL = 16; // px of the picture
  const SVG = "http://www.w3.org/2000/svg";
  let chips = []; // [name, health], in the order of the cells
  let asked = null; // the picture for which they were asked
  let asking = null;
  let place = 0;

  const strip = () => document.querySelector("[data-strip]");
  const aLine = (svg) => Math.max(1, Math.round(svg.viewBox.baseVal.width / CELL));

  async function ask(address) {
    const answer = await fetch(address, { credentials: "same-origin" });
    chips = answer.ok ? await answer.json() : [];
  }

  async function known(here) {
    const drawn = here.querySelector("svg").getAttribute("aria-label");
    if (asked !== drawn) [asked, asking] = [drawn, ask(here.dataset.strip)];
    await asking;
    return chips.length > 0;
  }

  function cursor(svg) {
    const found = svg.querySelector(".cursor");
    if (found) return found;
    const made = document.createElementNS(SVG, "rect");
    made.classList.add("cursor");
    made.setAttribute("width", CELL - 2);
    made.setAttribute("height", CELL - 2);
    return svg.appendChild(made);
  }

  function show(here) {
    const svg = here.querySelector("svg");
    place = Math.min(Math.max(place, 0), chips.length - 1);
    const [x, y] = [place % aLine(svg), Math.floor(place / aLine(svg))];
    const box = cursor(svg);
    box.setAttribute("x", x * CELL);
    box.setAttribute("y", y * CELL + 1);
    const [name, health] = chips[place];
    here.querySelector("output").textContent = `${name}: ${health}`;
  }

  async function go(here, to) {
    if (!(await known(here))) return;
    place = to(aLine(here.querySelector("svg")));
    show(here);
  }

  function open() {
    if (chips[place]) location.href = `/chips/${encodeURIComponent(chips[place][0])}`;
  }

  function under(event, svg) {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const column = Math.floor(((event.clientX - box.left) * scale) / CELL);
    const line = Math.floor(((event.clientY - box.top) * scale) / CELL);
    return line * aLine(svg) + Math.min(column, aLine(svg) - 1);
  }

  const KEYS = {
    ArrowRight: () => place + 1,
    ArrowLeft: () => place - 1,
    ArrowDown: (line) => (place + line < chips.length ? place + line : place),
    ArrowUp: (line) => (place >= line ? place - line : place),
    Home: () => 0,
    End: () => chips.length - 1,
  };

  document.addEventListener("focusin", (event) => {
    const here = event.target.closest?.("[data-strip]");
    if (here) go(here, () => place);
  });
  document.addEventListener("keydown", (event) => {
    const here = event.target.closest?.("[data-strip]");
    if (!here) return;
    if (event.key === "Enter") open();
    if (!KEYS[event.key]) return;
    event.preventDefault();
    go(here, KEYS[event.key]);
  });
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("[data-strip] svg");
    if (svg) go(svg.closest("[data-strip]"), () => under(event, svg));
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-strip] svg")) open();
  });
  // An update of the page takes the cursor away.
  document.addEventListener("updated", () => {
    const here = strip();
    if (here && here === document.activeElement) go(here, () => place);
  });
})();
