// ---- The flow: the kernels of the program, fed as the program feeds them ---------------------

// Offsets of bindings are multiples of this.
const ALIGNMENT = 256;
// The largest buffer that every implementation of WebGPU binds.
const LARGEST = 128 * 1024 * 1024;
// Operations of a dispatch: a small part of a second on a slow device.
const DISPATCH_FLOPS = 1e9;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function floatsOf(text) {
  return new Float32Array(bytesOf(text).buffer);
}

/** Runs the model on a device. */
class Flow {
  constructor(device, model) {
    this.device = device;
    this.model = model;
    this.pipelines = new Map();
  }

  /** The most particles whose states at all steps fit a buffer, in whole chunks of 64. */
  mostParticles(steps) {
    return Math.floor(LARGEST / (4 * this.model.dim * (steps + 1)) / 64) * 64;
  }

  buffer(size, usage, data) {
    const buffer = this.device.createBuffer({ size: Math.max(16, Math.ceil(size / 4) * 4), usage: usage | GPUBufferUsage.COPY_DST });
    if (data) this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  async pipeline(code) {
    if (!this.pipelines.has(code)) {
      const module = this.device.createShaderModule({ code });
      this.pipelines.set(code, await this.device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } }));
    }
    return this.pipelines.get(code);
  }

  /**
   * The network under a condition, guided by a weight: the one network, or free and told ones side by side. What is
   * told enters the biases of the first layer, as the program has it: b + W·c.
   */
  network(features, guidance) {
    const { model } = this;
    const guided = model.guided && guidance !== 1 && guidance !== 0;
    const network = guided ? model.guided : model.plain;
    const parameters = floatsOf(network.parameters);
    if (model.told && guidance !== 0) {
      const weights = floatsOf(model.told);
      const count = features.length;
      for (let row = 0; row < weights.length / count; row++) {
        let sum = 0;
        for (let i = 0; i < count; i++) sum += weights[row * count + i] * features[i];
        parameters[network.bias + row] += sum;
      }
    }
    // The last layer of two networks side by side is an affine function of the guidance.
    if (guided) floatsOf(network.slope).forEach((slope, i) => { parameters[network.slope_at + i] += guidance * slope; });
    return { ...network, parameters };
  }

  /** (h, noise, w0, w1) of each step and (t, c, α, β) of each of its stages, a step every 256 bytes. */
  timetable(solver, steps) {
    const table = new Float32Array((steps * ALIGNMENT) / 4);
    for (let i = 0; i < steps; i++) {
      const [t, end, before] = [i / steps, (i + 1) / steps, (i - 1) / steps];
      const ratio = i > 0 ? (end - t) / (t - before) : 0;
      const stages = solver.nodes.flatMap((c) => [t + c * (end - t), 1, 0, 1]);
      table.set([end - t, 0, 1 + ratio / 2, -ratio / 2, ...stages], (i * ALIGNMENT) / 4);
    }
    return table;
  }

  /**
   * Carries particles from noise to data and keeps their states after every step, in the network's units:
   * { history: [steps + 1, particles, dim], … }. `still` is asked between submissions whether they are still wanted.
   */
  async run({ solver: name, steps, particles, seed, features, guidance }, progress, still) {
    const { device, model } = this;
    const { STORAGE, UNIFORM, COPY_SRC } = GPUBufferUsage;
    const network = this.network(features, guidance);
    const solver = model.solvers.find((solver) => solver.name === name);
    const kernel = network.kernels[name];
    const integrator = await this.pipeline(model.sources[kernel.source]);
    const noise = await this.pipeline(model.sources[model.noise]);
    const dim = model.dim;
    const made = [];
    const make = (...request) => {
      made.push(this.buffer(...request));
      return made.at(-1);
    };
    const history = this.buffer(4 * dim * particles * (steps + 1), STORAGE | COPY_SRC);
    const points = make(4 * dim * particles, STORAGE | COPY_SRC);
    const quads = Math.ceil(dim / 4);
    const kept = make(16 * quads * particles, STORAGE);
    const shapes = bytesOf(network.table);
    const table = make(shapes.length, UNIFORM, shapes);
    const weights = make(4 * network.parameters.length, STORAGE, network.parameters);
    const timetable = make(steps * ALIGNMENT, STORAGE, this.timetable(solver, steps));
    const words = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];

    // x0, the same numbers as of `windfield sample --seed`.
    const start = new ArrayBuffer(32);
    new Uint32Array(start).set([...words, 0, particles]);
    new Float32Array(start)[5] = model.deviation;
    const drawn = device.createBindGroup({
      layout: noise.getBindGroupLayout(0),
      entries: [make(32, UNIFORM, start), points].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });

    // Chunks of particles, so that no dispatch takes long.
    const fitting = DISPATCH_FLOPS / (network.flops * solver.nodes.length);
    const most = Math.min(Math.max(64, Math.floor(fitting / 64) * 64), 65535 * kernel.particles);
    const chunks = [];
    for (let first = 0; first < particles; first += most) {
      const rows = Math.min(most, particles - first);
      const tableau = bytesOf(solver.tableau);
      // seed, first row, rows, first step, steps of a dispatch
      new Uint32Array(tableau.buffer).set([...words, first, rows, 0, 1]);
      const uniform = make(tableau.length, UNIFORM, tableau);
      const entries = [
        { binding: 0, resource: { buffer: uniform } },
        { binding: 1, resource: { buffer: table } },
        { binding: 2, resource: { buffer: weights } },
        { binding: 3, resource: { buffer: points, offset: 4 * dim * first, size: 4 * dim * rows } },
      ];
      if (solver.multistep) {
        entries.push({ binding: 6, resource: { buffer: kept, offset: 16 * quads * first, size: 16 * quads * rows } });
      }
      chunks.push({ entries, groups: Math.ceil(rows / kernel.particles) });
    }

    let encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(noise);
    pass.setBindGroup(0, drawn);
    const groups = Math.ceil((particles * quads) / 64);
    pass.dispatchWorkgroups(Math.min(groups, 65535), Math.ceil(groups / 65535));
    pass.end();
    encoder.copyBufferToBuffer(points, 0, history, 0, 4 * dim * particles);
    device.queue.submit([encoder.finish()]);

    let wanted = true;
    let batch = 1;
    for (let step = 0; step < steps && wanted; ) {
      const begun = performance.now();
      const end = Math.min(step + batch, steps);
      for (; step < end; step++) {
        for (const { entries, groups } of chunks) {
          encoder = device.createCommandEncoder();
          const pass = encoder.beginComputePass();
          pass.setPipeline(integrator);
          const moment = { buffer: timetable, offset: step * ALIGNMENT, size: 16 * (1 + solver.nodes.length) };
          pass.setBindGroup(0, device.createBindGroup({
            layout: integrator.getBindGroupLayout(0), entries: [...entries, { binding: 5, resource: moment }],
          }));
          pass.dispatchWorkgroups(groups);
          pass.end();
          device.queue.submit([encoder.finish()]);
        }
        encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(points, 0, history, 4 * dim * particles * (step + 1), 4 * dim * particles);
        device.queue.submit([encoder.finish()]);
      }
      await device.queue.onSubmittedWorkDone();
      const milliseconds = performance.now() - begun;
      batch = Math.max(1, Math.min(2 * batch, Math.floor((batch * 40) / Math.max(milliseconds, 0.1))));
      wanted = still();
      if (wanted) progress(step / steps);
    }
    for (const buffer of made) buffer.destroy();
    if (!wanted) history.destroy();
    return wanted ? { history, steps, particles, dim } : null;
  }

  /** The states after a step, [particles, dim], in the network's units. */
  async states({ history, particles, dim }, step) {
    const size = 4 * dim * particles;
    const copy = this.device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(history, step * size, copy, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const states = new Float32Array(copy.getMappedRange().slice(0));
    copy.destroy();
    return states;
  }
}
