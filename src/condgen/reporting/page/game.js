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
    shown = shuffled(Object.entries(SHARES).flatMap(([origin, n]) => shuffled(rows(origin), next).slice(0, n)), next);
    Object.assign(find(".address"), { href: `#game=${number}`, textContent: number });
    said.textContent = "";
    find(".copied").textContent = "";
    round.hidden = false;
    score.hidden = true;
    show();
  }

  function paint(canvas, row) {
    Object.assign(canvas, { width: side, height: side });
    const context = canvas.getContext("2d"), { across } = game;
    context.drawImage(sheet, row % across * side, Math.floor(row / across) * side, side, side, 0, 0, side, side);
  }

  function show() {
    const row = shown[guesses.length], label = classes[game.labels[row]];
    turn.textContent = `Picture ${guesses.length + 1} of ${shown.length}: ${one === "digit" ? "a" : "class"} ${label}`;
    paint(find(".round canvas"), row);
  }

  function guess(real) {
    const row = shown[guesses.length], origin = game.origins[row];
    guesses.push(real);
    const right = real === (origin === "real");
    said.textContent = `${right ? "Right" : origin === "real" ? "Wrong" : "Fooled"}: picture ${guesses.length} is ` +
      `${origin === "real" ? "real" : `drawn by the ${names[origin]}`}. D takes it for ${game.scores[row] > 0 ? "real" : "drawn"}, ` +
      `the classifier reads ${classes[game.read[row]]} (${Math.round(100 * game.sure[row])} %).`;
    if (guesses.length < shown.length) show(); else finish();
  }

  // Of each origin: n pictures, how many were taken for real, by D as well, and rightly read by the classifier.
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
    const half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return [-half, half].map(h => Math.round(100 * Math.min(1, Math.max(0, (p + z * z / (2 * n) + h) / wide))));
  }

  function finish() {
    const found = counts(), { cvae, cgan, real } = found;
    const [k, n] = [cvae.taken + cgan.taken, cvae.n + cgan.n], [low, high] = wilson(k, n);
    round.hidden = true;
    score.hidden = false;
    find(".score h3").textContent = `You were fooled by ${k} of ${n} drawn pictures (${Math.round(100 * k / n)} % [${low}, ` +
      `${high}]): ${cvae.taken} of ${cvae.n} by the ${names.cvae}, ${cgan.taken} of ${cgan.n} by the ${names.cgan}. Of ${real.n} real ` +
      `${images} you took ${real.taken} for real.`;
    const cell = (k, n) => {
      const [low, high] = wilson(k, n), td = document.createElement("td"), small = document.createElement("small");
      small.textContent = `${Math.round(100 * k / n)} % [${low}, ${high}]`;
      td.append(`${k}`, small);
      return td;
    };
    find("tbody").replaceChildren(...Object.entries(found).map(([origin, { n, taken, d, read }]) => {
      const row = document.createElement("tr"), head = document.createElement("th"), total = document.createElement("td");
      head.scope = "row";
      head.textContent = origin === "real" ? `real ${images}` : names[origin];
      total.textContent = n;
      row.append(head, total, cell(taken, n), cell(d, n), cell(read, n));
      return row;
    }));
    find(".seen").replaceChildren(...shown.map((row, i) => {
      const item = document.createElement("li"), canvas = document.createElement("canvas"), note = document.createElement("span");
      const origin = game.origins[row], right = guesses[i] === (origin === "real");
      canvas.className = "picture";
      paint(canvas, row);
      note.textContent = `${origin === "real" ? "real" : names[origin]}${right ? "" : " ✗"}`;
      note.className = right ? "" : "wrong";
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Picture ${i + 1}, ${right ? "guessed right" : "guessed wrong"}:`);
      item.append(canvas, note);
      return item;
    }));
    const id = [...crypto.getRandomValues(new Uint8Array(6))].map(x => x.toString(16).padStart(2, "0")).join("");
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
    const real = { r: true, ArrowLeft: true, d: false, ArrowRight: false }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (real === undefined) return;
    event.preventDefault();
    guess(real);
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
