// ---- The page -------------------------------------------------------------------------------

const model = JSON.parse(document.getElementById('model').textContent);
const $ = (id) => document.getElementById(id);
const PARTICLES = model.image ? [16, 36, 64, 100, 144, 256, 400] : [100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000];
const STEPS = [1, 2, 4, 8, 10, 16, 20, 32, 50, 64, 100, 200];
// Seconds from noise to data.
const SECONDS = 4;

/** Says that the flow cannot be shown, and what can be done. */
function refuse(title, ...words) {
  const heading = document.createElement('h2');
  heading.textContent = title;
  const paragraphs = words.map((text) => Object.assign(document.createElement('p'), { textContent: text }));
  $('message').replaceChildren(heading, ...paragraphs);
  $('message').hidden = false;
  for (const control of document.querySelectorAll('#settings :is(select, input, button), .transport :is(input, button)')) control.disabled = true;
  $('status').textContent = '';
}

function option(select, value, text) {
  select.append(new Option(text, value));
}

// ---- Colours

const system = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  $('theme').setAttribute('aria-pressed', String(isDark()));
  page?.show();
}

// ---- Settings: of the form, and at first of the address, such as page.html#particles=500&solver=rk4

const given = new URLSearchParams(location.hash.slice(1));
const settings = {};
let page = null;

function fill(id, values, chosen, text = String) {
  const wanted = given.get(id) ?? String(chosen);
  for (const value of values) option($(id), value, text(value));
  if (![...$(id).options].some((option) => option.value === wanted)) {
    // A number that is none of the choices becomes one.
    if (typeof chosen === 'number' && Number.isInteger(Number(wanted)) && Number(wanted) > 0) {
      const after = [...$(id).options].find((option) => Number(option.value) > Number(wanted));
      $(id).add(new Option(text(Number(wanted)), wanted), after ?? null);
    }
  }
  $(id).value = [...$(id).options].some((option) => option.value === wanted) ? wanted : String(chosen);
}

const count = (number) => Number(number).toLocaleString('en').replaceAll(',', '\u2009');

function prepareSettings(slow) {
  fill('particles', PARTICLES, model.image ? (slow ? 36 : 100) : slow ? 2000 : 10000, count);
  fill('steps', STEPS, slow ? 20 : 50);
  fill('solver', model.solvers.map((solver) => solver.name), 'midpoint');
  for (const option of $('solver').options) option.title = model.solvers.find((solver) => solver.name === option.value).help;
  if (/^\d+$/.test(given.get('seed') ?? '')) $('seed').value = given.get('seed');
  if (!model.image && model.dim > 2) {
    $('columns').hidden = false;
    const at = model.columns.map((_, column) => column);
    fill('across', at, 0, (column) => model.columns[column]);
    fill('upwards', at, 1, (column) => model.columns[column]);
  }
  for (const [at, label] of (model.labels ?? []).entries()) {
    $('conditions').hidden = false;
    let control;
    if (label.classes) {
      control = document.createElement('select');
      label.classes.forEach((name, index) => option(control, index, name));
      control.value = Math.max(0, label.classes.indexOf(given.get(label.name)));
    } else {
      control = Object.assign(document.createElement('input'), { type: 'number', step: 'any', value: given.get(label.name) ?? Number(label.mean.toPrecision(4)) });
    }
    control.id = `condition-${at}`;
    const line = document.createElement('label');
    line.append(label.name, control);
    $('conditions').append(line);
  }
  if (model.labels && model.guided) {
    const line = document.createElement('label');
    const guidance = Object.assign(document.createElement('input'), { type: 'range', id: 'guidance', min: 0, max: 5, step: 0.1, value: given.get('guidance') ?? 1 });
    const name = document.createElement('span');
    const say = () => { name.textContent = `Guidance ${Number(guidance.value).toFixed(1)}`; };
    guidance.addEventListener('input', say);
    say();
    line.append(name, guidance);
    $('conditions').append(line);
  }
}

/** What the network is told. */
function features() {
  return (model.labels ?? []).flatMap((label, at) => {
    const value = Number($(`condition-${at}`).value);
    if (label.classes) return label.classes.map((_, index) => Number(index === value));
    return [(Number.isFinite(value) ? value - label.mean : 0) / label.std, 1];
  });
}

function readSettings() {
  const steps = Number($('steps').value);
  const particles = Math.min(Number($('particles').value), Math.max(64, page.flow.mostParticles(steps)));
  const seed = Math.max(0, Math.floor(Number($('seed').value) || 0));
  Object.assign(settings, { solver: $('solver').value, steps, particles, seed, features: features(), guidance: Number($('guidance')?.value ?? 1) });
}

// ---- The flow, its picture, and the time

class Page {
  constructor(device) {
    this.flow = new Flow(device, model);
    this.view = new View(device, $('canvas'), $('axes'), model);
    this.time = Math.min(1, Math.max(0, Number(given.get('t')) || 0));
    this.playing = false;
    this.asked = 0;
  }

  /** Runs the flow as the settings have it now; a run that is still going is given up. */
  async run() {
    readSettings();
    const asked = ++this.asked;
    const still = () => asked === this.asked;
    const say = (share) => { $('status').textContent = `Integrating: ${Math.round(100 * share)} %`; };
    $('plot').setAttribute('aria-busy', 'true');
    const begun = performance.now();
    const result = await this.flow.run({ ...settings }, say, still);
    if (!result) return;
    const seconds = (performance.now() - begun) / 1000;
    const ends = [await this.flow.states(result, 0), await this.flow.states(result, result.steps)];
    if (!still()) return result.history.destroy();
    this.view.take(result, ends);
    this.known = null;
    this.cut = Number($('particles').value) > settings.particles ? ', as many as fit' : '';
    $('status').textContent = `${count(settings.particles)} particles${this.cut}, ${settings.steps} ${settings.steps === 1 ? 'step' : 'steps'} of ${settings.solver}, ${seconds.toFixed(2)} s`;
    $('plot').setAttribute('aria-busy', 'false');
    $('clear').disabled = this.view.chosen.length === 0;
    this.finished = asked;
    this.show();
  }

  /** Until the run that was asked for last is shown. */
  async settle() {
    while (this.finished !== this.asked) await new Promise((resolve) => setTimeout(resolve, 20));
    await this.flow.device.queue.onSubmittedWorkDone();
  }

  show() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.view.draw(this.time);
    });
  }

  setTime(time) {
    this.time = Math.min(1, Math.max(0, time));
    $('time').value = Math.round(1000 * this.time);
    const text = this.time.toFixed(2);
    $('clock').textContent = `t\u2009=\u2009${text}`;
    $('time').setAttribute('aria-valuetext', `t = ${text}`);
    $('canvas').setAttribute('aria-label', `${count(settings.particles ?? 0)} ${model.image ? 'images' : 'particles'} at t = ${text}, where 0 is noise and 1 is data`);
    this.show();
  }

  play(playing) {
    if (playing === this.playing) return;
    this.playing = playing;
    $('play').setAttribute('aria-label', playing ? 'Pause' : 'Play');
    $('play').querySelector('path').setAttribute('d', playing ? 'M5 4h3.5v12H5zM11.5 4H15v12h-3.5z' : 'M6 3.5v13l10.5-6.5z');
    if (!playing) return;
    if (this.time >= 1) this.setTime(0);
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      if (this.finished === this.asked) this.setTime(this.time + Math.max(0, now - last) / 1000 / SECONDS);
      last = now;
      if (this.time >= 1) this.play(false);
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  /** To the next state before or after, at rest. */
  step(by) {
    this.play(false);
    const steps = this.view.result?.steps ?? 1;
    const at = this.time * steps;
    this.setTime((by > 0 ? Math.floor(at + 1e-6) + by : Math.ceil(at - 1e-6) + by) / steps);
  }

  /** The states around a time, for finding particles. */
  async around() {
    const { steps } = this.view.result;
    const step = Math.min(Math.floor(this.time * steps), steps);
    if (this.known?.step !== step || this.known.result !== this.view.result) {
      const { result } = this.view;
      const states = [await this.flow.states(result, step), await this.flow.states(result, Math.min(step + 1, steps))];
      this.known = { step, states, result };
    }
    return { states: this.known.states, share: this.time * steps - step };
  }

  async choose(x, y) {
    if (!this.view.result || this.finished !== this.asked) return;
    const { states, share } = await this.around();
    const row = this.view.nearest(x, y, ...states, share);
    if (row !== null) this.add(row);
  }

  add(row) {
    this.view.choose(row);
    $('clear').disabled = false;
    const shown = this.view.chosen.length;
    $('status').textContent = model.image ? `image ${row}, from noise to data` : `${shown} ${shown === 1 ? 'path' : 'paths'} of ${count(settings.particles)} particles`;
    this.show();
  }

  /** The path of one that is not shown yet. */
  addOne() {
    if (!this.view.result) return;
    const { particles } = this.view.result;
    for (let row = 0; row < particles; row++) {
      if (!this.view.chosen.includes(row)) return this.add(row);
    }
  }

  clear() {
    this.view.chosen = [];
    $('clear').disabled = true;
    this.show();
  }
}

// ---- Controls

function listen() {
  $('play').addEventListener('click', () => page.play(!page.playing));
  $('time').addEventListener('input', () => {
    page.play(false);
    page.setTime(Number($('time').value) / 1000);
  });
  $('theme').addEventListener('click', () => setTheme(isDark() ? 'light' : 'dark'));
  system.addEventListener('change', () => setTheme());
  $('settings').addEventListener('submit', (event) => event.preventDefault());
  $('settings').addEventListener('change', (event) => {
    if (event.target.closest('#columns')) {
      page.view.columns = [Number($('across').value), Number($('upwards').value)];
      page.show();
    } else {
      start();
    }
  });
  $('add').addEventListener('click', () => page.addOne());
  $('clear').addEventListener('click', () => page.clear());

  let dragging = false;
  const point = (event) => {
    const place = $('canvas').getBoundingClientRect();
    page.choose(event.clientX - place.left, event.clientY - place.top).catch(fail);
  };
  $('canvas').addEventListener('pointerdown', (event) => {
    if (event.button > 0) return;
    dragging = true;
    $('canvas').setPointerCapture(event.pointerId);
    point(event);
  });
  $('canvas').addEventListener('pointermove', (event) => dragging && point(event));
  for (const end of ['pointerup', 'pointercancel']) $('canvas').addEventListener(end, () => { dragging = false; });

  // What a focused control does with a key by itself stays so.
  const own = { ' ': 'button, select', ArrowLeft: 'input, select', ArrowRight: 'input, select', Home: 'input, select', End: 'input, select' };
  const typing = 'select, input[type="number"]';
  const keys = {
    ' ': () => page.play(!page.playing),
    ArrowLeft: () => page.step(-1),
    ArrowRight: () => page.step(1),
    Home: () => (page.play(false), page.setTime(0)),
    End: () => (page.play(false), page.setTime(1)),
    '+': () => more(1),
    '=': () => more(1),
    '-': () => more(-1),
    p: () => page.addOne(),
    Escape: () => page.clear(),
    d: () => setTheme(isDark() ? 'light' : 'dark'),
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = keys[key];
    if (!action || event.target.matches?.(own[key] ?? typing) || (key.length === 1 && event.target.matches?.(typing))) return;
    event.preventDefault();
    action();
  });
  new ResizeObserver(() => page.show()).observe($('plot'));
}

function more(by) {
  const at = $('particles').selectedIndex + by;
  if (at < 0 || at >= $('particles').options.length) return;
  $('particles').selectedIndex = at;
  start();
}

function fail(error) {
  console.error(error);
  page?.play(false);
  refuse('The device refused', String(error?.message ?? error), 'Reload the page, or take fewer particles.');
}

function start() {
  page.run().catch(fail);
}

async function begin() {
  $('summary').textContent = model.summary;
  if (['light', 'dark'].includes(given.get('theme'))) setTheme(given.get('theme'));
  else setTheme();
  if (!navigator.gpu) {
    return refuse('This page needs WebGPU', isSecureContext
      ? 'The browser does not have it, or has it switched off. Chrome and Edge have it from version 113 on, Safari from 26, Firefox from 141 on Windows and 145 on macOS.'
      : 'Browsers have it only in pages that come by https, from localhost, or from a file.');
  }
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) {
    return refuse('No device was found', 'The browser has WebGPU, but nothing to run it on. On Linux, chrome://flags/#enable-unsafe-webgpu may help; so may a newer graphics driver.');
  }
  const device = await adapter.requestDevice();
  device.addEventListener('uncapturederror', (event) => fail(event.error));
  device.lost.then((loss) => loss.reason !== 'destroyed' && fail(new Error(`The device was lost. ${loss.message}`)));
  prepareSettings(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
  if (model.image) $('hint').textContent = 'Click an image: it is shown below from noise to data.';
  if (model.image) document.querySelector('#add').textContent = 'Next one';
  page = new Page(device);
  if (!$('columns').hidden) page.view.columns = [Number($('across').value), Number($('upwards').value)];
  listen();
  page.setTime(page.time);
  await page.run();
  // For programs: the states after a step in data units, row by row.
  globalThis.windfield = {
    settings,
    settle: () => page.settle(),
    states: async (step) => {
      const states = await page.flow.states(page.view.result, step);
      return Array.from(states, (x, i) => x * model.std[i % model.dim] + model.mean[i % model.dim]);
    },
    chosen: () => [...page.view.chosen],
    time: () => page.time,
  };
  if (!given.has('t') && !matchMedia('(prefers-reduced-motion: reduce)').matches) page.play(true);
  else if (!given.has('t')) page.setTime(1);
}

begin().catch(fail);
