// The pages of `windfield export --html` in a browser: node browser.mjs FOLDER, as tests/browser/run has filled it.
//
// Chromium runs WebGPU on SwiftShader, without a GPU. Positions are held against those of `windfield sample`.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const folder = resolve(process.argv[2]);
let passed = 0;
let failed = 0;

function check(name, holds, words = '') {
  if (holds) passed++;
  else failed++;
  console.log(`  ${holds ? 'ok    ' : 'WRONG '}${name} ${words}`.trimEnd());
}

/** The float32 values of a .npy file. */
function npy(name) {
  const bytes = readFileSync(`${folder}/${name}`);
  const begin = 10 + bytes.readUInt16LE(8);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset + begin, bytes.byteOffset + bytes.length));
}

// SwiftShader for WebGPU, and the same for what composes the page, or canvases stay blank.
const args = [
  '--headless=new', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-gpu', '--ignore-gpu-blocklist',
  '--enable-features=Vulkan', '--use-vulkan=swiftshader', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
];
if (process.getuid?.() === 0) args.push('--no-sandbox');
const browser = await chromium.launch({ executablePath: process.env.BROWSER, args });

const wide = { viewport: { width: 1200, height: 860 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/** Opens a page, does something there, and checks that nothing was said on the console. */
async function on(name, hash, options, act) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const said = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
  page.on('pageerror', (error) => said.push(error.message));
  page.on('request', (request) => /^(file|data):/.test(request.url()) || said.push(`asked for ${request.url()}`));
  try {
    await page.goto(`${pathToFileURL(`${folder}/${name}.html`)}#${hash}`);
    await page.waitForFunction(() => globalThis.windfield, null, { timeout: 60000 });
    await page.evaluate(() => windfield.settle());
    await act(page);
  } catch (error) {
    check(`${name} ${hash}`, false, error.message.split('\n')[0]);
  }
  check(`${name} ${hash}: nothing on the console`, said.length === 0, said.join('; ').slice(0, 300));
  await context.close();
}

/** The largest distance between the page's last states and a file, in standard deviations of the column at most. */
async function agrees(page, steps, file) {
  const here = await page.evaluate((steps) => windfield.states(steps), steps);
  const there = npy(file);
  const scale = there.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  const worst = here.reduce((most, x, i) => Math.max(most, Math.abs(x - there[i])), 0) / scale;
  check(`${file}: positions as the program has them`, here.length === there.length && worst <= 1e-4, worst.toExponential(2));
}

/** How many pixels of a screenshot of the canvas are not of its most frequent colour. */
async function drawn(page) {
  const picture = (await page.locator('#canvas').screenshot()).toString('base64');
  return page.evaluate(async (picture) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const context = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height }).getContext('2d');
    context.drawImage(image, 0, 0);
    const words = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
    const counts = new Map();
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    return words.length - Math.max(...counts.values());
  }, picture);
}

for (const solver of ['euler', 'midpoint', 'heun', 'rk4', 'ab2']) {
  await on('plane', `particles=200&steps=8&seed=7&solver=${solver}&t=1`, wide, (page) => agrees(page, 8, `${solver}.npy`));
}

await on('plane', 'particles=2000&steps=20&t=0', { ...wide, colorScheme: 'light' }, async (page) => {
  const time = () => page.evaluate(() => windfield.time());
  check('particles are drawn', (await drawn(page)) > 5000);
  await page.keyboard.press('ArrowRight');
  check('an arrow makes a step', Math.abs((await time()) - 0.05) < 1e-9, await time());
  await page.keyboard.press('End');
  check('End is at the data', (await time()) === 1);
  await page.keyboard.press('ArrowLeft');
  check('and back', Math.abs((await time()) - 0.95) < 1e-9);
  await page.fill('#time', '500');
  check('the slider sets the time', (await time()) === 0.5);
  check('which the clock shows', (await page.textContent('#clock')).includes('0.50'));
  await page.click('#canvas', { position: { x: 300, y: 300 } });
  await page.waitForFunction(() => windfield.chosen().length === 1);
  check('a click shows a path', true);
  await page.keyboard.press('p');
  check('p another', (await page.evaluate(() => windfield.chosen().length)) === 2);
  await page.mouse.move(480, 300);
  await page.mouse.down();
  for (let i = 1; i <= 6; i++) await page.mouse.move(480 - 20 * i, 300 + 40 * i);
  await page.mouse.up();
  await page.waitForTimeout(500);
  check('dragging more', (await page.evaluate(() => windfield.chosen().length)) > 3);
  await page.fill('#time', '1000');
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${folder}/light.png`, fullPage: true });
  await page.keyboard.press('d');
  check('d is dark', (await page.getAttribute('html', 'data-theme')) === 'dark');
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${folder}/dark.png`, fullPage: true });
  await page.keyboard.press('Escape');
  check('escape clears', (await page.evaluate(() => windfield.chosen().length)) === 0);
  await page.focus('#canvas');
  await page.keyboard.press('-');
  await page.evaluate(() => windfield.settle());
  check('− takes fewer particles', (await page.evaluate(() => windfield.settings.particles)) === 1000);
  await page.selectOption('#solver', 'rk4');
  await page.selectOption('#steps', '4');
  await page.evaluate(() => windfield.settle());
  check('a solver is chosen', (await page.evaluate(() => windfield.settings.solver)) === 'rk4');
  await page.focus('#canvas');
  await page.keyboard.press('Home');
  await page.keyboard.press(' ');
  check('space plays', (await page.getAttribute('#play', 'aria-label')) === 'Pause');
  await page.waitForFunction(() => windfield.time() > 0.02);
  await page.keyboard.press(' ');
  check('and pauses', (await page.getAttribute('#play', 'aria-label')) === 'Play');
});

await on('plane', 'particles=2000&steps=20&t=1', { ...phone, colorScheme: 'dark' }, async (page) => {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check('a phone is not scrolled sideways', inner <= outer, `${inner} ${outer}`);
  await page.tap('#canvas', { position: { x: 150, y: 150 } });
  await page.waitForFunction(() => windfield.chosen().length === 1);
  check('a tap shows a path', true);
  await page.screenshot({ path: `${folder}/phone.png`, fullPage: true });
});

await on('images', 'particles=36&steps=8&seed=7&t=1', wide, async (page) => {
  await agrees(page, 8, 'images.npy');
  await page.click('#canvas', { position: { x: 200, y: 200 } });
  await page.waitForFunction(() => windfield.chosen().length === 1);
  await page.waitForTimeout(300);
  check('images are drawn', (await drawn(page)) > 5000);
  await page.screenshot({ path: `${folder}/images.png`, fullPage: true });
});

await on('told', 'particles=36&steps=8&seed=7&digit=3&t=1', wide, (page) => agrees(page, 8, 'told.npy'));
await on('told', 'particles=36&steps=8&seed=7&digit=3&guidance=2&t=1', { ...phone, colorScheme: 'light' }, async (page) => {
  await agrees(page, 8, 'guided.npy');
  await page.screenshot({ path: `${folder}/told.png`, fullPage: true });
});

// Where there is no WebGPU the page says so.
const bare = await browser.newPage(wide);
await bare.addInitScript(() => Object.defineProperty(navigator, 'gpu', { value: undefined }));
await bare.goto(String(pathToFileURL(`${folder}/plane.html`)));
check('without WebGPU there is a message', (await bare.textContent('#message')).includes('WebGPU'));
await bare.screenshot({ path: `${folder}/without.png` });

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
