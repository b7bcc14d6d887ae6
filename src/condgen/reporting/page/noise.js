"use strict";
// The noise that `condgen draw` draws from, number for number: the seed of a stream
// (src/condgen/base/random.py), and PyTorch's CPU generator with its torch.randn
// (aten/src/ATen/core/MT19937RNGEngine.h, DistributionsHelper.h and native/cpu/DistributionTemplates.h).
const noise = (() => {
  // SHA-256 (FIPS 180-4) of an ASCII text, its first 32 bits. crypto.subtle has it, but not on every page
  // without a secure origin, and this page may be opened from anywhere.
  function hash(text) {
    const primes = [];
    for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p)) primes.push(n);
    const fraction = x => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
    const k = primes.map(p => fraction(Math.cbrt(p)));
    const state = primes.slice(0, 8).map(p => fraction(Math.sqrt(p)));
    const rotate = (x, n) => (x >>> n) | (x << (32 - n));

    const bytes = new Uint8Array(Math.ceil((text.length + 9) / 64) * 64);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    bytes[text.length] = 0x80;
    view.setUint32(bytes.length - 4, 8 * text.length);
    const w = new Int32Array(64);
    for (let block = 0; block < bytes.length; block += 64) {
      for (let i = 0; i < 64; i++) {
        if (i < 16) { w[i] = view.getInt32(block + 4 * i); continue; }
        const a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) +
          (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10));
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i++) {
        const one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
        const two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((x, i) => { state[i] = (state[i] + x) | 0; });
    }
    return state[0] >>> 0;
  }

  // Matsumoto & Nishimura 1998, mt19937: returns a function that gives the next 32 bits.
  function mersenne(seed) {
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let j = 1; j < 624; j++) {
      state[j] = Math.imul(1812433253, state[j - 1] ^ (state[j - 1] >>> 30)) + j;
    }
    let next = 624;
    return () => {
      if (next === 624) {
        for (let j = 0; j < 624; j++) {
          const y = (state[j] & 0x80000000) | (state[(j + 1) % 624] & 0x7fffffff);
          state[j] = state[(j + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
        }
        next = 0;
      }
      let y = state[next++];
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    };
  }

  // A generator as condgen.base.random.generator(seed, stream) makes it.
  const generator = (seed, stream) => mersenne(hash(`${seed}/${stream}/0`));

  // torch.randn(n) with this generator, float32.
  function randn(n, next) {
    return n < 16 ? few(n, next) : many(n, next);
  }

  // Fewer than 16: Box & Muller 1958 with 53 bits, two numbers at a time.
  function few(n, next) {
    const uniform = () => {
      const high = next(), low = next();
      return ((high & 0x1fffff) * 2 ** 32 + low) * 2 ** -53;
    };
    const z = new Float32Array(n + 1);
    for (let i = 0; i < n; i += 2) {
      const angle = 2 * Math.PI * uniform(), radius = Math.sqrt(-2 * Math.log1p(-uniform()));
      z[i] = radius * Math.cos(angle);
      z[i + 1] = radius * Math.sin(angle);
    }
    return z.slice(0, n);
  }

  // 16 or more: with 24 bits, number i of a block of 16 together with i + 8. If the last block is not full,
  // the last 16 numbers are drawn anew.
  function many(n, next) {
    const z = new Float32Array(n);
    const fill = (from, to) => {
      for (let i = from; i < to; i++) z[i] = (next() & 0xffffff) * 2 ** -24;
    };
    const turn = from => {
      for (let i = from; i < from + 8; i++) {
        const radius = Math.sqrt(-2 * Math.log(1 - z[i])), angle = 2 * Math.PI * z[i + 8];
        z[i] = radius * Math.cos(angle);
        z[i + 8] = radius * Math.sin(angle);
      }
    };
    fill(0, n);
    for (let i = 0; i + 16 <= n; i += 16) turn(i);
    if (n % 16) {
      fill(n - 16, n);
      turn(n - 16);
    }
    return z;
  }

  // Points at a fraction t of the way from a to b along the great circle, as condgen.sampling.latent.slerp.
  function slerp(a, b, t) {
    const dot = (x, y) => x.reduce((sum, v, i) => sum + v * y[i], 0);
    const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    if (!(angle >= 1e-4 && angle <= Math.PI - 1e-4)) return a.map((x, i) => x + t * (b[i] - x));
    const [p, q] = [(1 - t) * angle, t * angle].map(x => Math.sin(x) / Math.sin(angle));
    return a.map((x, i) => p * x + q * b[i]);
  }

  return { generator, hash, randn, slerp };
})();
