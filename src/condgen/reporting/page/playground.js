"use strict";
// The playground: what `condgen draw` draws, in the browser.
(() => {
  const section = document.getElementById("draw"), form = section.querySelector("form");
  if (!form) return;
  const MOST_SEED = 2 ** 32 - 1, LONGEST_TEXT = 100, SCALE = 4, LEAST_SCALE = 1.25;
  const REACH = 3;  // of the pad, in standard deviations
  const SLICE = 30;  // milliseconds of drawing, after which the browser may react
  const PATIENCE = 500;  // milliseconds, after which a drawing that is out of date is given up
  const field = id => document.getElementById(`draw-${id}`);
  const [text, seed, temperature, between, other] =
    ["text", "seed", "temperature", "between", "other"].map(field);
  const { one, many } = section.dataset;

  const models = [...section.querySelectorAll(".model")].filter(figure => figure.querySelector("canvas"))
    .map(figure => ({
      figure, name: figure.dataset.model, title: figure.dataset.title, canvas: figure.querySelector("canvas"),
      drawn: new Map(), hand: null, program: null,
    }));

  // The text as labels and separators, as condgen.sampling.drawing reads it. Throws an Error to show.
  function parts({ classes, separators }) {
    const value = text.value, named = !separators;
    const found = named ? value.split(",").map(name => name.trim()) : [...value];
    if (found.length > LONGEST_TEXT) {
      const what = named ? "names" : "characters";
      throw Error(`The text has ${found.length} ${what}, but must have at most ${LONGEST_TEXT}.`);
    }
    const labels = found.map(part => classes.indexOf(part));
    if (named) {
      const wrong = labels.indexOf(-1);
      if (wrong < 0) return labels;
      throw Error(found[wrong] ? `No class is called “${found[wrong]}”.` : "A name of a class is missing.");
    }
    const known = many === "digits" && classes.length === 10 ? "digits" : `the classes ${classes.join("")}`;
    const wrong = found.find((c, i) => labels[i] < 0 && !separators.includes(c));
    if (wrong !== undefined) {
      throw Error(`“${wrong}” cannot be drawn: type ${known}, spaces and ${[...separators.trim()].join(" ")}`);
    }
    if (labels.every(label => label < 0)) throw Error(`Type at least one ${one}.`);
    return labels.map((label, i) => label < 0 ? found[i] : label);
  }

  function whole(input, what) {
    const value = Number(input.value);
    if (input.value.trim() === "" || !Number.isInteger(value) || value < 0 || value > MOST_SEED) {
      throw Error(`${what} must be a whole number from 0 to ${MOST_SEED}.`);
    }
    return value;
  }

  // What is asked for. Throws an Error to show, with the field that is wrong.
  function wanted() {
    const attempt = (input, read) => {
      try { return read(); } catch (error) { error.field = input; throw error; }
    };
    return {
      text: text.value,
      parts: attempt(text, () => parts(models[0].program)),
      seed: attempt(seed, () => whole(seed, "The seed")),
      other: attempt(other, () => whole(other, "The seed of the other draw")),
      temperature: Number(temperature.value),
      t: Number(between.value) / 100,
    };
  }

  // A noise vector for each label: Float32Array(latent_dim).
  function noises({ hand, program: { latent_dim: d } }, { parts, seed, other, temperature, t }) {
    const count = parts.filter(Number.isInteger).length;
    if (hand) return Array(count).fill(Float32Array.from(hand));
    const draw = of => {
      const z = noise.randn(count * d, noise.generator(of, "drawing/text/0"));
      return Array.from({ length: count }, (_, i) => z.subarray(i * d, (i + 1) * d));
    };
    const a = draw(seed), b = t ? draw(other) : [], factor = Math.fround(temperature);
    return a.map((z, i) => (t ? noise.slerp(z, b[i], t) : z).map(x => x * factor));
  }

  const pause = () => new Promise(resolve => setTimeout(resolve));
  let busy = false, again = false;

  // Draws what is asked for now. What changes meanwhile is drawn next, so dragging shows whole pictures.
  async function draw() {
    if (!models.every(model => model.program)) return; // still loading, or this browser cannot
    section.dataset.state = "drawing";
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      await drawOnce();
    }
    busy = false;
  }

  async function drawOnce() {
    const started = performance.now();
    let ask;
    for (const input of [text, seed, other]) input.removeAttribute("aria-invalid");
    try { ask = wanted(); } catch (error) {
      field("error").textContent = error.message;
      error.field?.setAttribute("aria-invalid", "true");
      section.dataset.state = "error";
      return;
    }
    field("error").textContent = "";
    const outdated = () => again && performance.now() - started > PATIENCE;
    await Promise.all(models.map(model => drawWith(model, ask, outdated)));
    if (again) return;
    field("said").textContent = `Drawn: ${ask.text}, seed ${ask.seed}.`;
    section.dataset.milliseconds = performance.now() - started;
    section.dataset.state = "done";
  }

  async function drawWith(model, ask, outdated) {
    const { program, canvas } = model, { side, glyphs } = program, width = glyphs?.shape[2];
    const z = noises(model, ask), kept = new Map(), cells = [];
    let left = 0, next = 0;
    for (const part of ask.parts) {
      cells.push({ part, left, z: Number.isInteger(part) ? z[next++] : null });
      left += Number.isInteger(part) ? side : width;
    }
    // Of the last drawing's pictures those are kept that are needed again: typing draws only what is new.
    const image = new ImageData(left, side);
    let spent = 0, last = performance.now();
    for (const cell of cells) {
      if (cell.z) {
        const key = `${cell.part} ${cell.z.join()}`;
        const pixels = kept.get(key) ?? model.drawn.get(key) ?? network.draw(program, cell.z, cell.part);
        kept.set(key, pixels);
        paint(image, pixels, cell.left, side, program.channels);
      } else {
        const size = side * width * program.channels, from = program.separators.indexOf(cell.part) * size;
        paint(image, glyphs.subarray(from, from + size), cell.left, width, program.channels);
      }
      if (performance.now() - last > SLICE) {
        spent += performance.now() - last;
        await pause();
        if (outdated()) return;
        last = performance.now();
      }
    }
    model.drawn = kept;
    Object.assign(canvas, { width: left, height: side });
    canvas.style.width = `${SCALE * left}px`;
    canvas.style.maxWidth = `max(100%, ${LEAST_SCALE * left}px)`;
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `${ask.text}, drawn by the ${model.title}`);
    model.figure.querySelector(".save").disabled = false;
    spent += performance.now() - last;
    model.figure.querySelector(".time").textContent = `drawn in ${Math.max(1, Math.round(spent))} ms`;
    model.figure.querySelector(".command code").textContent = command(model, ask);
    if (model.figure.querySelector(".pad")) showPad(model, cells.filter(cell => cell.z), ask);
  }

  function paint(image, pixels, left, width, channels) {
    for (let i = 0; i < pixels.length / channels; i++) {
      const to = 4 * (Math.floor(i / width) * image.width + left + i % width);
      for (let c = 0; c < 3; c++) image.data[to + c] = pixels[i * channels + (channels > 1 ? c : 0)];
      image.data[to + 3] = 255;
    }
  }

  // How to get this picture without the page.
  function command({ name, hand }, { text, seed, other, temperature, t }) {
    if (hand) return `z₁ = ${hand[0].toFixed(2)}, z₂ = ${hand[1].toFixed(2)} for each ${one}`;
    if (t) return `${Math.round(100 * t)} % of the way from seed ${seed} to seed ${other}`;
    const quoted = /^[\w.,:/+][\w.,:/+-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
    const options = [`--model ${name}`, seed ? `--seed ${seed}` : "",
      temperature !== 1 ? `--temperature ${temperature}` : "", `--out ${name}.png`].filter(Boolean).join(" ");
    return text.startsWith("-") ? `condgen draw ${options} -- ${quoted}` : `condgen draw ${quoted} ${options}`;
  }

  function save({ canvas, name }) {
    const large = Object.assign(document.createElement("canvas"), {
      width: SCALE * canvas.width, height: SCALE * canvas.height,
    });
    const context = large.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, large.width, large.height);
    large.toBlob(blob => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name} ${text.value.replace(/[^\w.,+-]+/g, "-")}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    });
  }

  // The field over a two-dimensional latent space: a point for each label, or the one that was chosen.
  function showPad({ figure, program, hand }, cells) {
    const pad = figure.querySelector(".pad");
    pad.classList.toggle("by-hand", hand !== null);
    pad.querySelectorAll("b").forEach(point => point.remove());
    for (const { part, z } of hand ? cells.slice(0, 1) : cells) {
      const point = document.createElement("b"), [x, y] = z;
      const place = v => `${50 + 50 * Math.min(.97, Math.max(-.97, v / REACH))}%`;
      point.textContent = hand ? "+" : program.classes[part].slice(0, 2);
      Object.assign(point.style, { left: place(x), top: place(-y) });
      pad.append(point);
    }
    figure.querySelectorAll(".hand input").forEach((input, axis) => {
      input.nextElementSibling.textContent = hand ? hand[axis].toFixed(2) : "–";
      if (!hand) input.value = 0;
    });
    figure.querySelector(".random").disabled = hand === null;
  }

  function wirePad(model) {
    const pad = model.figure.querySelector(".pad");
    const sliders = [...model.figure.querySelectorAll(".hand input")];
    if (!pad) return;
    const choose = values => {
      model.hand = values;
      sliders.forEach((slider, axis) => { slider.value = values[axis]; });
      draw();
    };
    const follow = event => {
      if (event.type === "pointermove" && !pad.hasPointerCapture(event.pointerId)) return;
      if (event.type === "pointerdown") pad.setPointerCapture(event.pointerId);
      const box = pad.getBoundingClientRect();
      const at = (value, size) => Math.min(REACH, Math.max(-REACH, (2 * value / size - 1) * REACH));
      choose([at(event.clientX - box.left, box.width), -at(event.clientY - box.top, box.height)]);
    };
    pad.addEventListener("pointerdown", follow);
    pad.addEventListener("pointermove", follow);
    for (const slider of sliders) {
      slider.addEventListener("input", () => choose(sliders.map(s => Number(s.value))));
    }
    model.figure.querySelector(".random").addEventListener("click", () => { model.hand = null; draw(); });
  }

  function changed(event) {
    temperature.nextElementSibling.textContent = temperature.value;
    between.nextElementSibling.textContent = `${between.value} %`;
    if (event?.target !== text) for (const model of models) model.hand = null;
    draw();
  }

  form.addEventListener("input", changed);
  form.addEventListener("submit", event => { event.preventDefault(); });
  field("again").addEventListener("click", () => {
    for (const input of [seed, other]) {
      const value = Number(input.value);
      input.value = Number.isInteger(value) && value >= 0 && value < MOST_SEED ? value + 1 : 0;
    }
    changed();
  });
  section.querySelectorAll(".names button").forEach(button => button.addEventListener("click", () => {
    text.value = [text.value.replace(/[\s,]+$/, ""), button.textContent].filter(Boolean).join(", ");
    changed({ target: text });
  }));
  for (const model of models) {
    model.figure.querySelector(".save").addEventListener("click", () => save(model));
    wirePad(model);
  }

  async function start() {
    try {
      await Promise.all(models.map(async model => {
        model.program = await network.read(document.getElementById(`program-${model.name}`).textContent);
      }));
    } catch (error) {
      field("error").textContent = `This browser cannot read the networks (${error.message}): try a newer one.`;
      section.dataset.state = "error";
      return;
    }
    changed();
  }
  start();
})();
