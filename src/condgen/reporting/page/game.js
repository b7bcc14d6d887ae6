"use strict";
// The game: real or drawn? The pictures are fixed by the game's number.
(() => {
  const section = document.getElementById("game"), given = document.getElementById("game-pictures");
  if (!given) return;
  const game = JSON.parse(given.textContent), { side, classes, names } = game;
  const { one, images } = section.dataset;
  const SHARES = { real: 10, cvae: 5, cgan: 5 }, MOST_GAMES = 1_000_000;
  const find = selector => section.querySelector(selector);
  const [round, score, turn, said] = [".round", ".score", ".turn", ".verdict-of-guess"].map(find);
  const sheet = new Image();
  let number, shown, guesses;

  // Fisher & Yates, with the numbers of a stream.
  function shuffled(list, next) {
    const mixed = list.slice();
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(next() / 2 ** 32 * (i + 1));
      [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
    }
    return mixed;
  }

  function start(of) {
    number = of;
    guesses = [];
    const next = noise.generator(number, "game");
    const rows = origin => [...game.origins.keys()].filter(i => game.origins[i] === origin);
    const some = ([origin, n]) => shuffled(rows(origin), next).slice(0, n);
    shown = shuffled(Object.entries(SHARES).flatMap(some), next);
    Object.assign(find(".address"), { href: `#game=${number}`, textContent: number });
    said.textContent = "";
    find(".copied").textContent = "";
    round.hidden = false;
    score.hidden = true;
    show();
  }

  function paint(canvas, row) {
    Object.assign(canvas, { width: side, height: side });
    const left = row % game.across * side, top = Math.floor(row / game.across) * side;
    canvas.getContext("2d").drawImage(sheet, left, top, side, side, 0, 0, side, side);
  }

  function show() {
    const row = shown[guesses.length], label = classes[game.labels[row]];
    const what = one === "digit" ? `a ${label}` : label;
    turn.textContent = `Picture ${guesses.length + 1} of ${shown.length}: ${what}`;
    paint(find(".round canvas"), row);
  }

  function guess(real) {
    const row = shown[guesses.length], origin = game.origins[row];
    guesses.push(real);
    const right = real === (origin === "real");
    const [mark, truth] = origin === "real" ? ["Wrong", "real"] : ["Fooled", `drawn by the ${names[origin]}`];
    said.textContent = `${right ? "Right" : mark}: picture ${guesses.length} is ${truth}. ` +
      `D takes it for ${game.scores[row] > 0 ? "real" : "drawn"}, ` +
      `the classifier reads ${classes[game.read[row]]} (${Math.round(100 * game.sure[row])} %).`;
    if (guesses.length < shown.length) show(); else finish();
  }

  // Of each origin: n pictures; how many the player and D took for real, and the classifier read rightly.
  function counts() {
    return Object.fromEntries(Object.keys(SHARES).map(origin => {
      const turns = [...shown.keys()].filter(i => game.origins[shown[i]] === origin);
      const count = of => turns.filter(of).length;
      return [origin, {
        n: turns.length,
        taken: count(i => guesses[i]),
        d: count(i => game.scores[shown[i]] > 0),
        read: count(i => game.read[shown[i]] === game.labels[shown[i]]),
      }];
    }));
  }

  // Wilson 1927: a 95 % interval of a share, in percent.
  function wilson(k, n) {
    const z = 1.959963984540054, p = k / n, wide = 1 + z * z / n;
    const middle = p + z * z / (2 * n), half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return [middle - half, middle + half].map(x => Math.round(100 * Math.min(1, Math.max(0, x / wide))));
  }

  function finish() {
    const found = counts(), { cvae, cgan, real } = found;
    const [k, n] = [cvae.taken + cgan.taken, cvae.n + cgan.n], [low, high] = wilson(k, n);
    round.hidden = true;
    score.hidden = false;
    find(".score h3").textContent = `You were fooled by ${k} of ${n} drawn pictures ` +
      `(${Math.round(100 * k / n)} % [${low}, ${high}]): ${cvae.taken} of ${cvae.n} by the ${names.cvae}, ` +
      `${cgan.taken} of ${cgan.n} by the ${names.cgan}. Of ${real.n} real ${images} you took ${real.taken} for real.`;
    const make = (tag, textContent, ...children) => {
      const made = Object.assign(document.createElement(tag), { textContent });
      made.append(...children);
      return made;
    };
    const cell = (k, n) => {
      const [low, high] = wilson(k, n);
      return make("td", k, make("small", `${Math.round(100 * k / n)} % [${low}, ${high}]`));
    };
    find("tbody").replaceChildren(...Object.entries(found).map(([origin, { n, taken, d, read }]) => {
      const head = make("th", origin === "real" ? `real ${images}` : names[origin]);
      head.scope = "row";
      return make("tr", "", head, make("td", n), cell(taken, n), cell(d, n), cell(read, n));
    }));
    find(".seen").replaceChildren(...shown.map((row, i) => {
      const origin = game.origins[row], right = guesses[i] === (origin === "real");
      const canvas = Object.assign(make("canvas", ""), { className: "picture", role: "img" });
      canvas.setAttribute("aria-label", `Picture ${i + 1}, guessed ${right ? "right" : "wrong"}:`);
      paint(canvas, row);
      const note = make("span", `${origin === "real" ? "real" : names[origin]}${right ? "" : " ✗"}`);
      note.className = right ? "" : "wrong";
      return make("li", "", canvas, note);
    }));
    const bytes = [...crypto.getRandomValues(new Uint8Array(6))];  // so that no game is counted twice
    const id = bytes.map(x => x.toString(16).padStart(2, "0")).join("");
    find("textarea").value = JSON.stringify({ game: number, id, pictures: game.md5, ...found });
    find(".score h3").focus();
  }

  async function copy() {
    const line = find("textarea");
    line.select();
    try { await navigator.clipboard.writeText(line.value); } catch { document.execCommand("copy"); }
    find(".copied").textContent = "Copied.";
  }

  section.querySelectorAll("[data-guess]").forEach(button => {
    button.addEventListener("click", () => guess(button.dataset.guess === "real"));
  });
  section.addEventListener("keydown", event => {
    if (round.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const real = { r: true, R: true, ArrowLeft: true, d: false, D: false, ArrowRight: false }[event.key];
    if (real === undefined) return;
    event.preventDefault();
    if (!event.repeat) guess(real);
  });
  find(".copy").addEventListener("click", copy);
  const random = () => crypto.getRandomValues(new Uint32Array(1))[0] % MOST_GAMES;
  find(".new").addEventListener("click", () => { start(random()); find("[data-guess]").focus(); });
  const asked = () => location.hash.match(/^#game=(\d{1,9})$/)?.[1];
  addEventListener("hashchange", () => {
    if (asked() === undefined) return;
    start(Number(asked()));
    section.scrollIntoView();
  });
  sheet.onload = () => {
    start(asked() === undefined ? random() : Number(asked()));
    if (asked() !== undefined) section.scrollIntoView();
    section.dataset.state = "ready";
  };
  sheet.src = game.sheet;
})();
