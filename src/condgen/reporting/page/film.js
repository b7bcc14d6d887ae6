"use strict";
// The film: one slider moves both reels and the cursors of all curves to the same epoch.
{
  const section = document.getElementById("film");
  const slider = document.getElementById("epoch");
  const play = document.getElementById("play");
  const reels = [...section.querySelectorAll(".reel")].map((element) => ({
    element,
    epochs: element.dataset.epochs.split(" ").map(Number),
    across: Number(element.dataset.across),
    label: element.querySelector(".epoch"),
    window: element.querySelector(".window"),
  }));
  const charts = [...section.querySelectorAll(".chart")].map((element) => ({
    cursor: element.querySelector(".cursor"),
    values: [...element.querySelectorAll(".value")].map((one) => ({ one, of: one.dataset.values.split(" ") })),
    left: Number(element.dataset.left),
    step: Number(element.dataset.step),
    last: Number(element.dataset.last),
  }));
  const epochs = reels.map((reel) => reel.epochs).reduce((a, b) => (a.length >= b.length ? a : b));
  const slow = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;

  function show(index) {
    const epoch = epochs[index];
    for (const reel of reels) {
      const frame = Math.min(index, reel.epochs.length - 1); // all show the same epochs, up to their last
      const own = reel.epochs[frame];
      reel.element.style.setProperty("--column", frame % reel.across);
      reel.element.style.setProperty("--row", Math.floor(frame / reel.across));
      reel.element.dataset.epoch = own;
      reel.label.textContent = own < epoch ? `epoch ${own}, its last` : `epoch ${own}`;
    }
    for (const chart of charts) {
      const own = Math.min(epoch, chart.last);
      const x = chart.left + chart.step * (own - 1);
      chart.cursor.setAttribute("x1", x);
      chart.cursor.setAttribute("x2", x);
      for (const { one, of } of chart.values) one.textContent = of[own - 1];
    }
    slider.value = index;
    slider.setAttribute("aria-valuetext", `epoch ${epoch} of ${epochs[epochs.length - 1]}`);
    document.getElementById("now").textContent = `epoch ${epoch}`;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (Number(slider.value) === epochs.length - 1) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      show(Number(slider.value) + 1);
      if (Number(slider.value) === epochs.length - 1) stop();
    }, slow.matches ? 1000 : 200); // whoever wants less motion gets a slide show
  }

  slider.max = epochs.length - 1;
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  play.addEventListener("click", () => (timer === null ? start() : stop()));
  section.querySelector(".controls").hidden = false;
  show(epochs.length - 1);
}
