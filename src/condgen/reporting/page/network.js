"use strict";
// Runs a trained generator: the program and the weights that src/condgen/sampling/program.py writes.
// Plain functions, because no kept runtime can be embedded here: onnxruntime-web's WebAssembly alone has
// about 10 MB, more than twice the whole page, and no package on PyPI brings TensorFlow.js.
const network = (() => {
  // Each operation: what comes, {values: Float32Array, shape}, the step, the label -> what goes.
  // Sums are in float64, results in float32.
  const OPERATIONS = {
    label: ({ values }, step, label, classes) => {
      const next = new Float32Array(values.length + classes);
      next.set(values);
      next[values.length + label] = 1;
      return { values: next, shape: [next.length] };
    },
    linear: (h, step) => {
      const values = linear(h.values, step["layer.weight"], step["layer.bias"]);
      return { values, shape: [values.length] };
    },
    leaky_relu: (h, { slope }) => each(h, x => x > 0 ? x : slope * x),
    sigmoid: h => each(h, x => 1 / (1 + Math.exp(-x))),
    tanh: h => each(h, Math.tanh),
    rescale: (h, { scale, shift }) => each(h, x => scale * x + shift),
    reshape: ({ values }, { shape }) => ({ values, shape }),
    scale_shift: (h, { scale, shift }) => {
      const size = h.values.length / h.shape[0];
      return each(h, (x, i) => scale[Math.floor(i / size)] * x + shift[Math.floor(i / size)]);
    },
    group_norm: (h, { groups, eps, scale, shift }) => {
      const { values, shape } = h, size = values.length / groups, area = values.length / shape[0];
      const next = new Float32Array(values.length);
      for (let from = 0; from < values.length; from += size) {
        const group = values.subarray(from, from + size);
        const mean = group.reduce((sum, x) => sum + x, 0) / size;
        const variance = group.reduce((sum, x) => sum + (x - mean) ** 2, 0) / size;
        for (let i = 0; i < size; i++) {
          const channel = Math.floor((from + i) / area);
          next[from + i] = (group[i] - mean) / Math.sqrt(variance + eps) * scale[channel] + shift[channel];
        }
      }
      return { values: next, shape };
    },
    // A transposed convolution adds each input pixel, times the kernel, to the outputs.
    conv_transpose: (h, step) => {
      const { stride, padding } = step, [count, height, width] = h.shape;
      const weight = step["layer.weight"], bias = step["layer.bias"], side = weight.shape[2];
      const outputs = weight.shape[1];
      const [high, wide] = [height, width].map(n => (n - 1) * stride - 2 * padding + side);
      const sums = start(bias, high * wide);
      for (let input = 0; input < count; input++) {
        for (let output = 0; output < outputs; output++) {
          for (let ky = 0; ky < side; ky++) {
            for (let kx = 0; kx < side; kx++) {
              const w = weight[((input * outputs + output) * side + ky) * side + kx];
              const [first, end] = inside(kx, stride, padding, width, wide);
              for (let y = 0; y < height; y++) {
                const row = y * stride + ky - padding;
                if (row < 0 || row >= high) continue;
                const from = (input * height + y) * width;
                let to = (output * high + row) * wide + first * stride + kx - padding;
                for (let x = first; x < end; x++, to += stride) sums[to] += w * h.values[from + x];
              }
            }
          }
        }
      }
      return { values: Float32Array.from(sums), shape: [outputs, high, wide] };
    },
    // A convolution of stride 1 that keeps height and width.
    conv: (h, step) => {
      const { padding } = step, [count, height, width] = h.shape;
      const weight = step["layer.weight"], bias = step["layer.bias"], [outputs, , side] = weight.shape;
      const sums = start(bias, height * width);
      for (let output = 0; output < outputs; output++) {
        for (let input = 0; input < count; input++) {
          for (let ky = 0; ky < side; ky++) {
            for (let kx = 0; kx < side; kx++) {
              const w = weight[((output * count + input) * side + ky) * side + kx];
              const left = kx - padding, first = Math.max(0, -left), end = Math.min(width, width - left);
              for (let y = 0; y < height; y++) {
                const row = y + ky - padding;
                if (row < 0 || row >= height) continue;
                const to = (output * height + y) * width, from = (input * height + row) * width + left;
                for (let x = first; x < end; x++) sums[to + x] += w * h.values[from + x];
              }
            }
          }
        }
      }
      return { values: Float32Array.from(sums), shape: [outputs, height, width] };
    },
    crop: ({ values, shape: [channels, height, width] }, { side }) => {
      const next = new Float32Array(channels * side * side);
      for (let row = 0; row < channels * side; row++) {
        const from = (Math.floor(row / side) * height + row % side) * width;
        next.set(values.subarray(from, from + side), row * side);
      }
      return { values: next, shape: [channels, side, side] };
    },
    class_gaussian: (h, { mu, sigma }, label) => {
      const from = label * h.values.length;
      return each(h, (x, i) => mu[from + i] + sigma[from + i] * x);
    },
    // Dinh et al. 2017, with the class given to each coupling: src/condgen/models/priors.py.
    coupling: (h, step, label, classes) => {
      const z = h.values.slice().reverse(), { kept, limit, gain } = step, changed = z.length - kept;
      const silu = values => values.map(x => x / (1 + Math.exp(-x)));
      const inputs = OPERATIONS.label({ values: z.subarray(0, kept) }, null, label, classes).values;
      const first = silu(linear(inputs, step["first.weight"], step["first.bias"]));
      const second = silu(linear(first, step["second.weight"], step["second.bias"]));
      const affine = linear(second, step["third.weight"], step["third.bias"]).map((x, i) => x * gain[i]);
      for (let i = 0; i < changed; i++) {
        z[kept + i] = z[kept + i] * Math.exp(limit * Math.tanh(affine[i])) + affine[changed + i];
      }
      return { values: z, shape: h.shape };
    },
  };

  const each = ({ values, shape }, change) => ({ values: values.map(change), shape });

  function linear(x, weight, bias) {
    const y = new Float32Array(bias.length), n = x.length;
    for (let row = 0; row < y.length; row++) {
      let sum = bias[row];
      for (let i = 0, at = row * n; i < n; i++, at++) sum += weight[at] * x[i];
      y[row] = sum;
    }
    return y;
  }

  function start(bias, area) {
    const sums = new Float64Array(bias.length * area);
    bias.forEach((b, channel) => sums.fill(b, channel * area, (channel + 1) * area));
    return sums;
  }

  // [first, end) of the input columns that this column of a kernel moves to a column of the output.
  function inside(kx, stride, padding, width, wide) {
    const first = Math.max(0, Math.ceil((padding - kx) / stride));
    return [first, Math.min(width, Math.floor((wide - 1 + padding - kx) / stride) + 1)];
  }

  // IEEE 754: 1 bit sign, 5 bits exponent, 10 bits fraction; exact in float32.
  function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  }

  const READERS = {
    F32: buffer => new Float32Array(buffer),
    F16: buffer => Float32Array.from(new Uint16Array(buffer), fromHalf),
    I8: buffer => Float32Array.from(new Int8Array(buffer)),
    U8: buffer => new Uint8Array(buffer),
  };

  // A safetensors file, compressed by gzip, in base64 -> the program, its steps with their tensors.
  async function read(text) {
    const packed = atob(text), bytes = new Uint8Array(packed.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const file = await new Response(stream).arrayBuffer();
    const start = 8 + Number(new DataView(file).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, start - 8)));
    const program = JSON.parse(header.__metadata__.program), tensors = {};
    delete header.__metadata__;
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      tensors[name] = Object.assign(READERS[dtype](file.slice(start + from, start + to)), { shape });
    }
    for (const [name, weight] of Object.entries(tensors)) {
      const scale = tensors[`${name}.scale`], size = weight.length / scale?.length;  // of rows of whole numbers
      if (scale) weight.forEach((x, i) => { weight[i] = x * scale[Math.floor(i / size)]; });
    }
    for (const step of program.steps) {
      for (const [key, value] of Object.entries(step)) if (key !== "op") step[key] = tensors[value] ?? value;
    }
    return { ...program, glyphs: tensors.separators };
  }

  // Noise z, Float32Array(latent_dim), and a label -> pixels in [0, 255], Uint8Array, as files have them:
  // row by row, the colours of a pixel together.
  function draw(program, z, label) {
    let h = { values: z, shape: [z.length] };
    for (const step of program.steps) h = OPERATIONS[step.op](h, step, label, program.classes.length);
    const { side, channels } = program, area = side * side, pixels = new Uint8Array(area * channels);
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < channels; c++) pixels[i * channels + c] = Math.round(h.values[c * area + i] * 255);
    }
    return pixels;
  }

  return { read, draw };
})();
