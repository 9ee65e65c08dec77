// ---- The picture ----------------------------------------------------------------------------

// Cells of the strip that shows one image at several times.
const FILM = 9;
// Paths shown at once.
const MOST_PATHS = 64;

/** A colour of the style sheet as [r, g, b, a]. */
function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = Number.parseInt(text.slice(1), 16);
  return [((number >> 16) & 255) / 255, ((number >> 8) & 255) / 255, (number & 255) / 255, 1];
}

function blend(a, b, share) {
  return a.map((value, i) => value + share * (b[i] - value));
}

/** Numbers that people count in, at most `most` of them, in [low, high]. */
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    found.push([i * step, (i * step).toFixed(digits).replace('-', '−')]);
  }
  return found;
}

/** Draws what a flow has computed: the plane of two columns, or a sheet of images. */
class View {
  constructor(device, canvas, axes, model) {
    Object.assign(this, { device, canvas, axes, model });
    this.chosen = [];
    this.columns = [0, Math.min(1, model.dim - 1)];
    this.context = canvas.getContext('webgpu');
    this.format = navigator.gpu.getPreferredCanvasFormat();
    this.context.configure({ device, format: this.format, alphaMode: 'premultiplied' });
    const { UNIFORM, STORAGE, COPY_DST } = GPUBufferUsage;
    const buffer = (size, usage) => device.createBuffer({ size, usage: usage | COPY_DST });
    this.uniform = buffer(112, UNIFORM);
    this.film = buffer(112, UNIFORM);
    this.paths = buffer(4 * MOST_PATHS, STORAGE);
    this.units = buffer(8 * model.dim, STORAGE);
    device.queue.writeBuffer(this.units, 0, new Float32Array(model.std.flatMap((std, i) => [std, model.mean[i]])));
    if (model.image) {
      const module = device.createShaderModule({ code: model.images });
      this.sheet = this.pipeline(module, 'cell', 'pixel', this.format);
    } else {
      const module = device.createShaderModule({ code: model.points });
      const add = { srcFactor: 'one', dstFactor: 'one', operation: 'add' };
      const over = { srcFactor: 'one', dstFactor: 'one-minus-src-alpha', operation: 'add' };
      this.splat = this.pipeline(module, 'splat', 'light', 'r16float', add);
      this.tone = this.pipeline(module, 'screen', 'tone', this.format);
      this.ribbon = this.pipeline(module, 'ribbon', 'stroke', this.format, over);
      this.dot = this.pipeline(module, 'dot_of', 'disc', this.format, over);
    }
  }

  pipeline(module, vertex, fragment, format, operation) {
    const blend = operation && { color: operation, alpha: operation };
    return this.device.createRenderPipeline({
      layout: 'auto',
      vertex: { module, entryPoint: vertex },
      fragment: { module, entryPoint: fragment, targets: [{ format, blend }] },
      primitive: { topology: 'triangle-strip' },
    });
  }

  /** Takes what a run gave, with the states at its two ends, [particles, dim]. */
  take(result, ends) {
    this.result?.history.destroy();
    this.result = result;
    this.begun = ends[0];
    this.chosen = this.chosen.filter((row) => row < result.particles);
    const { dim } = this.model;
    this.extent = this.model.mean.map((mean, column) => {
      const std = this.model.std[column];
      const bounds = ends.map((states) => {
        const values = [];
        const stride = dim * Math.max(1, Math.floor(states.length / dim / 5000));
        for (let i = column; i < states.length; i += stride) values.push(states[i] * std + mean);
        values.sort((a, b) => a - b);
        const at = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))];
        return [at(0.002), at(0.998)];
      });
      const low = Math.min(...bounds.map((bound) => bound[0]));
      const high = Math.max(...bounds.map((bound) => bound[1]));
      const margin = 0.06 * (high - low) || 1;
      return [low - margin, high + margin];
    });
    if (this.model.image && !this.model.image.range) {
      const last = ends[1].map((x, i) => x * this.model.std[i % dim] + this.model.mean[i % dim]).sort();
      this.range = [last[Math.floor(0.01 * last.length)], last[Math.floor(0.99 * last.length)]];
    }
  }

  /** The intervals of the two axes: of one scale, unless the columns are of other sizes. */
  frame() {
    const [x, y] = this.columns.map((column) => this.extent[column]);
    const [width, height] = [x[1] - x[0], y[1] - y[0]];
    if (Math.max(width, height) > 3 * Math.min(width, height)) return [x, y];
    const half = Math.max(width, height) / 2;
    return [x, y].map(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((size) => Math.max(1, Math.round(size * ratio)));
    if (this.canvas.width === width && this.canvas.height === height && this.texture) return ratio;
    Object.assign(this.canvas, { width, height });
    this.texture?.destroy();
    this.texture = this.device.createTexture({
      size: [width, height], format: 'r16float', usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.TEXTURE_BINDING,
    });
    return ratio;
  }

  /** Shows the states at `time`, from 0 to 1. */
  draw(time) {
    if (!this.result) return;
    const ratio = this.resize();
    const { steps } = this.result;
    const step = Math.min(Math.floor(time * steps), steps);
    const moment = { step, next: Math.min(step + 1, steps), share: time * steps - step };
    if (this.model.image) this.drawSheet(moment, ratio);
    else this.drawPlane(moment, ratio);
  }

  bind(pipeline, resources) {
    const entries = Object.entries(resources).map(([binding, resource]) => ({
      binding: Number(binding), resource: resource instanceof GPUBuffer ? { buffer: resource } : resource,
    }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  }

  pass(encoder, view) {
    const clear = { r: 0, g: 0, b: 0, a: 0 };
    return encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: 'clear', storeOp: 'store', clearValue: clear }] });
  }

  drawPlane({ step, next, share }, ratio) {
    const { device, model, result } = this;
    const { width, height } = this.canvas;
    const data = new ArrayBuffer(112);
    const [floats, words] = [new Float32Array(data), new Uint32Array(data)];
    this.frame().forEach(([low, high], axis) => {
      const column = this.columns[axis];
      floats[axis] = (2 * model.std[column]) / (high - low);
      floats[2 + axis] = (2 * (model.mean[column] - low)) / (high - low) - 1;
    });
    // A lone particle is to be seen, and a crowd is not to be a blot.
    const crowd = result.particles / 2000;
    const radius = Math.max(1.6, 2.6 / Math.max(1, crowd) ** 0.15) * ratio;
    floats.set([2 / width, 2 / height, radius, Math.min(1.5, 1.1 / Math.max(crowd, 0.2) ** 0.45)], 4);
    words.set([...this.columns, model.dim, result.particles, step], 8);
    floats[13] = share;
    words.set([result.steps, next], 14);
    const [accent, ink, paper] = ['--accent', '--ink', '--panel'].map(colour);
    const dark = paper[0] < 0.5;
    floats.set(dark ? blend(accent, paper, 0.25) : accent, 16);
    floats.set(dark ? blend(accent, [1, 1, 1, 1], 0.8) : blend(accent, ink, 0.75), 20);
    floats.set(dark ? [1, 0.78, 0.42, 1] : [0.72, 0.27, 0.05, 1], 24);
    device.queue.writeBuffer(this.uniform, 0, data);
    device.queue.writeBuffer(this.paths, 0, new Uint32Array(MOST_PATHS).map((_, i) => this.chosen[i] ?? 0));

    const encoder = device.createCommandEncoder();
    const light = this.pass(encoder, this.texture.createView());
    light.setPipeline(this.splat);
    light.setBindGroup(0, this.bind(this.splat, { 0: this.uniform, 1: result.history }));
    light.draw(4, result.particles);
    light.end();
    const plane = this.pass(encoder, this.context.getCurrentTexture().createView());
    plane.setPipeline(this.tone);
    plane.setBindGroup(0, this.bind(this.tone, { 0: this.uniform, 3: this.texture.createView() }));
    plane.draw(4);
    if (this.chosen.length) {
      for (const [pipeline, instances] of [[this.ribbon, this.chosen.length * result.steps], [this.dot, this.chosen.length]]) {
        plane.setPipeline(pipeline);
        plane.setBindGroup(0, this.bind(pipeline, { 0: this.uniform, 1: result.history, 2: this.paths }));
        plane.draw(4, instances);
      }
    }
    plane.end();
    device.queue.submit([encoder.finish()]);
    this.drawAxes();
  }

  drawAxes() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const [x, y] = this.frame();
    const names = this.columns.map((column) => this.model.columns[column]);
    if (this.model.dim === 1) names[1] += ' at t = 0';
    const key = JSON.stringify([width, height, x, y, names]);
    if (key === this.key) return;
    this.key = key;
    this.axes.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const made = [];
    const make = (tag, attributes, text) => {
      const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text !== undefined) element.textContent = text;
      made.push(element);
    };
    const most = Math.max(5, Math.round(width / 100));
    for (const [value, text] of ticks(...x, most)) {
      const at = ((value - x[0]) / (x[1] - x[0])) * width;
      make('line', { x1: at, x2: at, y1: 0, y2: height });
      if (at > 44 && at < width - 70) make('text', { x: at, y: height - 8, 'text-anchor': 'middle' }, text);
    }
    for (const [value, text] of ticks(...y, most)) {
      const at = height - ((value - y[0]) / (y[1] - y[0])) * height;
      make('line', { x1: 0, x2: width, y1: at, y2: at });
      if (at > 40 && at < height - 28) make('text', { x: 8, y: at + 4 }, text);
    }
    make('text', { class: 'name', x: width - 10, y: height - 8, 'text-anchor': 'end' }, names[0]);
    make('text', { class: 'name', x: 8, y: 20 }, names[1]);
    this.axes.replaceChildren(...made);
  }

  /** Where the images lie: cells of a grid that fills the canvas, and a strip under them for the chosen one. */
  cells() {
    const { width, height } = this.canvas;
    const { image } = this.model;
    const gap = Math.max(2, Math.round(width / 220));
    const strip = this.chosen.length ? Math.min((width - gap) / FILM, height / 5) : 0;
    const room = height - strip;
    let across = 1;
    while (Math.ceil(this.result.particles / across) * ((width / across) * (image.height / image.width)) > room) across++;
    const pitch = [width / across, (width / across) * (image.height / image.width)];
    // Where the grid is lower than the room it has, it stands in the middle.
    const lines = Math.ceil(this.result.particles / across);
    return { across, gap, pitch, top: Math.max(0, (room - lines * pitch[1]) / 2), strip, room };
  }

  drawSheet({ step, next, share }) {
    const { device, model, result } = this;
    const { width, height } = this.canvas;
    const { across, gap, pitch, top, strip, room } = this.cells();
    const { image } = model;
    const [low, high] = image.range ?? this.range;
    const encoder = device.createCommandEncoder();
    const write = (buffer, origin, pitch, cell, across, film) => {
      const data = new ArrayBuffer(112);
      const [floats, words] = [new Float32Array(data), new Uint32Array(data)];
      floats.set([width, height, ...origin, ...pitch, ...cell]);
      words.set([image.height, image.width, image.channels, across, result.particles, step, next], 8);
      floats.set([share, low, high], 15);
      words.set([this.chosen.at(-1) ?? 0xffffffff, film, result.steps], 18);
      floats.set(colour('--accent'), 24);
      device.queue.writeBuffer(buffer, 0, data);
    };
    write(this.uniform, [gap / 2, top + gap / 2], pitch, pitch.map((size) => size - gap), across, 0);
    const sheet = this.pass(encoder, this.context.getCurrentTexture().createView());
    sheet.setPipeline(this.sheet);
    const draw = (uniform, cells) => {
      sheet.setBindGroup(0, this.bind(this.sheet, { 0: uniform, 1: result.history, 2: this.units }));
      sheet.draw(4, cells);
    };
    draw(this.uniform, result.particles);
    if (strip) {
      const size = strip - gap;
      const cell = [size, size * (image.height / image.width)];
      const pitch = [(width - gap - size) / (FILM - 1), 0];
      write(this.film, [gap / 2, room + (strip - cell[1]) / 2], pitch, cell, FILM, FILM);
      draw(this.film, FILM);
    }
    sheet.end();
    device.queue.submit([encoder.finish()]);
  }

  /** The particle that is nearest to a place of the canvas, in pixels of the style, or null. */
  nearest(x, y, before, after, share) {
    const ratio = this.canvas.width / this.canvas.clientWidth;
    if (this.model.image) {
      const { across, pitch, top, room } = this.cells();
      const column = Math.floor((x * ratio) / pitch[0]);
      const row = across * Math.floor((y * ratio - top) / pitch[1]) + column;
      return y * ratio < room && column < across && row >= 0 && row < this.result.particles ? row : null;
    }
    const { dim, mean, std } = this.model;
    const frame = this.frame();
    const size = [this.canvas.clientWidth, this.canvas.clientHeight];
    const wanted = [x / size[0], 1 - y / size[1]].map((place, axis) => frame[axis][0] + place * (frame[axis][1] - frame[axis][0]));
    let found = null;
    let least = Infinity;
    for (let row = 0; row < this.result.particles; row++) {
      let distance = 0;
      this.columns.forEach((column, axis) => {
        const at = row * dim + column;
        const state = dim === 1 && axis === 1 ? this.begun[row] : before[at] + share * (after[at] - before[at]);
        const value = state * std[column] + mean[column];
        distance += ((value - wanted[axis]) / (frame[axis][1] - frame[axis][0])) ** 2;
      });
      if (distance < least) [found, least] = [row, distance];
    }
    return found;
  }

  /** Shows a particle's path; of too many, the oldest one goes. */
  choose(row) {
    this.chosen = this.model.image ? [row] : [...this.chosen.filter((other) => other !== row), row].slice(-MOST_PATHS);
  }
}
