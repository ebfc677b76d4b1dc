// Shows the values of a plot under the pointer, from the table behind it.
"use strict";

(() => {
  let pointed = null; // the figure under the pointer, and where: { figure, x }

  function clear(figure) {
    figure.classList.remove("pointing");
    figure.querySelector("[data-values]").textContent = "";
  }

  function show({ figure, x }) {
    const rows = [...figure.querySelectorAll("tr[data-x]")];
    if (!rows.length) return;
    const far = (row) => Math.abs(Number(row.dataset.x) - x);
    const row = rows.reduce((best, one) => (far(one) < far(best) ? one : best));
    const names = [...figure.querySelectorAll("th")].map((cell) => cell.textContent);
    const words = [...row.cells].map((cell, place) => `${names[place]} ${cell.textContent}`);
    const line = figure.querySelector("[data-pointer]");
    line.setAttribute("x1", row.dataset.x);
    line.setAttribute("x2", row.dataset.x);
    figure.querySelector("[data-values]").textContent = words.join(" · ");
    figure.classList.add("pointing");
  }

  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("[data-plot] svg");
    const figure = svg?.closest("[data-plot]") ?? null;
    if (pointed && pointed.figure !== figure) clear(pointed.figure);
    pointed = null;
    if (!figure) return;
    const box = svg.getBoundingClientRect();
    pointed = { figure, x: ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width };
    show(pointed);
  });

  // An update of the page takes the line away; the pointer is still there.
  document.addEventListener("updated", () => {
    if (pointed?.figure.isConnected) show(pointed);
  });
})();
