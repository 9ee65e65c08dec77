// The shaders before independent compilers.
//
//     node judge.mjs FOLDER [TARGET…]   judges FOLDER/TARGET/*, as written by
//                                       `windfield shaders --target TARGET --out FOLDER/TARGET`
//     node judge.mjs --self-test        each judge accepts every file of sound/ and rejects
//                                       every file of broken/, for the reason the file names
//
// naga translates the kernels; none of the judges below has any code in common with it.
// A target without files fails: a judge that saw nothing has not said that all is well.

import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const scratch = mkdtempSync(join(os.tmpdir(), 'windfield-judges-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

// One entry a target: the files it looks at, who judges them, and how.
// `judge` resolves to null where the file is sound, or to the judge's words.
const judges = {
  // Vulkan 1.1 is the oldest that wgpu runs on; it reads SPIR-V up to 1.3.
  spirv: {
    extension: '.spv',
    by: 'spirv-val',
    judge: (file) => run('spirv-val', ['--target-env', 'vulkan1.1', file]),
  },
  hlsl: { extension: '.hlsl', by: 'glslangValidator -D', judge: judgeHlsl },
  // The stage is in the name: NAME.comp.glsl, NAME.vert.glsl, NAME.frag.glsl.
  glsl: {
    extension: '.glsl',
    by: 'glslangValidator',
    judge: (file) => run('glslangValidator', ['-S', /\.(vert|frag)\.glsl$/.exec(file)?.[1] ?? 'comp', file]),
  },
  wgsl: { extension: '.wgsl', by: 'Tint', judge: judgeWgsl },
};
// MSL has no compiler outside macOS: it is looked at only for being there.
const extensions = { ...Object.fromEntries(Object.entries(judges).map(([t, j]) => [t, j.extension])), msl: '.metal' };

/** Runs a tool: null when it is content, else what it said. */
function run(tool, args) {
  return new Promise((resolve) => {
    execFile(tool, args, { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (!error) return resolve(null);
      if (error.code === 'ENOENT') return resolve(`${tool} is not installed`);
      resolve(`${stdout}\n${stderr}`.trim() || String(error.message));
    });
  });
}

// ---- HLSL --------------------------------------------------------------------------------

const stages = [
  ['comp', /\[numthreads\([^)]*\)\]\s*\w+\s+(\w+)\s*\(/g],
  ['vert', /\b(\w+)\s*\([^()]*\bSV_VertexID\b[^()]*\)/g],
  ['frag', /\b(\w+)\s*\([^()]*\)\s*:\s*SV_Target\d*/g],
];

/** Every entry point of the file, each compiled for its stage. */
async function judgeHlsl(file) {
  const source = readFileSync(file, 'utf8');
  const copy = join(scratch, `${basename(file)}.${Math.random().toString(36).slice(2)}`);
  writeFileSync(copy, glslangHlsl(source));
  let entries = 0;
  for (const [stage, pattern] of stages) {
    for (const [, entry] of source.matchAll(pattern)) {
      entries += 1;
      const words = await run('glslangValidator', ['-D', '-V', '-S', stage, '-e', entry, '-o', '/dev/null', copy]);
      if (words) return words.replaceAll(copy, file);
    }
  }
  return entries > 0 ? null : 'no entry point found';
}

/**
 * glslang's HLSL front end knows neither `(float[4])0` nor a function call as the initialiser
 * of a global array, both of which Microsoft's compilers take and naga writes. The copy that
 * it is given has the same values as initialiser lists; all else is left as it was.
 */
function glslangHlsl(source) {
  const zeros = (type, dims) => {
    const sizes = [...dims.matchAll(/\[(\d+)\]/g)].map(([, n]) => Number(n));
    return sizes.reduceRight((inner, n) => `{ ${Array(n).fill(inner).join(', ')} }`, `(${type})0`);
  };
  return source
    // typedef T ret_X[N]; ret_X ZeroValueX() { return (T[N])0; }
    .replace(/return \((\w+)((?:\[\d+\])+)\)0;/g, (_, type, dims) =>
      `${type} zero${dims} = ${zeros(type, dims)}; return zero;`)
    // T name[N] = (T[N])0;
    .replace(/= \((\w+)((?:\[\d+\])+)\)0;/g, (whole, type, dims, at, text) =>
      /\]\s*$/.test(text.slice(0, at)) ? `= ${zeros(type, dims)};` : whole)
    // name = (T[N])0;
    .replace(/^(\s*)(\w+) = \((\w+)((?:\[\d+\])+)\)0;/gm, (_, indent, name, type, dims) =>
      `${indent}{ ${type} zero${dims} = ${zeros(type, dims)}; ${name} = zero; }`)
    // static const T name[N] = ZeroValueX();
    .replace(/^(static .*?(\w+) \w+((?:\[\d+\])+) = )ZeroValue\w+\(\);/gm, (_, start, type, dims) =>
      `${start}${zeros(type, dims)};`)
    // static const T name[N] = ConstructX(…);
    .replace(/^(static .*\] = )(Construct.*);/gm, (_, start, value) => `${start}${lists(value)};`);
}

/** `ConstructX(a, ConstructY(b, c))` as `{ a, { b, c } }`; other calls stay calls. */
function lists(expression) {
  const closing = [];
  return expression.replace(/Construct\w+\(|\(|\)/g, (token) => {
    if (token === ')') return closing.pop();
    closing.push(token === '(' ? ')' : ' }');
    return token === '(' ? token : '{ ';
  });
}

// ---- WGSL --------------------------------------------------------------------------------

let tint;

/** A device of Dawn's null back end, with the limits that every WebGPU device has. */
async function dawn() {
  const { create } = await import('webgpu');
  const gpu = create(['backend=null']);
  const adapter = await gpu.requestAdapter();
  const all = ['subgroups', 'shader-f16', 'timestamp-query', 'texture-formats-tier2'];
  const wanted = all.filter((feature) => adapter.features.has(feature));
  // The instance is kept with the device, which does not outlive it.
  return { gpu, device: await adapter.requestDevice({ requiredFeatures: wanted }) };
}

/** Tint's whole validation, then a pipeline for every compute entry point: limits, overrides. */
async function judgeWgsl(file) {
  tint ??= dawn();
  const { device } = await tint;
  let code = readFileSync(file, 'utf8');
  // naga offers the subgroup built-ins without the directive that WGSL asks for.
  if (/\b(subgroup|quad)[A-Z_]\w*/.test(code) && !/^\s*enable\s+subgroups\b/m.test(code)) {
    code = `enable subgroups; ${code}`;
  }
  // A loop that all lanes of a subgroup leave together asks subgroupAny. That its result is the same in all of them is not
  // part of WGSL's analysis, which can be told so by a filter alone; and naga's WGSL has no place for that either.
  if (/\bsubgroupAny\(/.test(code)) {
    code = `diagnostic(off, subgroup_uniformity); ${code}`;
  }
  // Nothing is awaited between push and pop: other files are being judged on this device.
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  const popped = device.popErrorScope();
  const { messages } = await module.getCompilationInfo();
  const error = await popped;
  if (error || messages.some((m) => m.type === 'error')) {
    return messages.map((m) => `${file}:${m.lineNum}:${m.linePos}: ${m.type}: ${m.message}`).join('\n') || error.message;
  }
  const text = code.replace(/\/\/.*$/gm, '');
  for (const [, entryPoint] of text.matchAll(/@compute[\s\S]*?\bfn\s+(\w+)/g)) {
    try {
      await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint } });
    } catch (refusal) {
      return `${file}: entry point ${entryPoint}: ${refusal.message}`;
    }
  }
  return /@(compute|vertex|fragment)\b/.test(text) ? null : `${file}: no entry point found`;
}

// ---- the court ---------------------------------------------------------------------------

/** `files` through `judge`, a few at a time: [{ file, words }], in the order of `files`. */
async function hear(files, judge) {
  const verdicts = [];
  let next = 0;
  const worker = async () => {
    while (next < files.length) {
      const at = next++;
      verdicts[at] = { file: files[at], words: await judge(files[at]) };
    }
  };
  await Promise.all(Array.from({ length: os.availableParallelism?.() ?? os.cpus().length }, worker));
  return verdicts;
}

function listing(folder, extension) {
  try {
    return readdirSync(folder).filter((f) => f.endsWith(extension)).sort().map((f) => join(folder, f));
  } catch {
    return [];
  }
}

const indented = (words) => words.split('\n').slice(0, 12).map((line) => `    ${line}`).join('\n');

async function main(folder, targets) {
  let passed = 0;
  let failed = 0;
  for (const target of targets) {
    const { extension, by, judge } = judges[target];
    const files = listing(join(folder, target), extension);
    const verdicts = await hear(files, judge);
    const rejected = verdicts.filter(({ words }) => words);
    for (const { file, words } of rejected) console.log(`  ${file}: rejected\n${indented(words)}`);
    if (files.length === 0) console.log(`  ${join(folder, target)}: no *${extension} to judge`);
    console.log(`${target.padEnd(6)} ${String(files.length).padStart(4)} files, ${rejected.length} rejected by ${by}`);
    passed += files.length - rejected.length;
    failed += files.length === 0 ? 1 : rejected.length;
  }
  const whole = targets.length === Object.keys(judges).length;
  for (const line of missing(folder, whole ? Object.keys(extensions) : targets)) {
    console.log(`  ${line}`);
    failed += 1;
  }
  return { passed, failed };
}

/** The kernels that one target has and another lacks: a translation that was not written is not judged. */
function missing(folder, targets) {
  const kernels = targets.map((target) => {
    const names = listing(join(folder, target), extensions[target]);
    return new Set(names.map((file) => basename(file, extensions[target]).replace(/\.(comp|vert|frag)$/, '')));
  });
  const all = [...new Set(kernels.flatMap((names) => [...names]))];
  return targets.flatMap((target, at) => {
    const lacks = all.filter((name) => !kernels[at].has(name));
    return lacks.length === 0 ? [] : [`${target}: ${lacks.length} of ${all.length} kernels missing: ${lacks.slice(0, 5).join(', ')}…`];
  });
}

/** A judge that accepts all, or rejects all, proves nothing: each must do both. */
async function selfTest() {
  let passed = 0;
  let failed = 0;
  const report = (ok, line) => {
    ok ? (passed += 1) : (failed += 1);
    if (!ok) console.log(`  ${line}`);
  };
  for (const [target, { extension, judge }] of Object.entries(judges)) {
    for (const folder of ['sound', 'broken']) {
      // SPIR-V is kept as text, so that it can be read.
      const kept = target === 'spirv' ? '.spvasm' : extension;
      const files = listing(join(here, folder), kept);
      report(files.length > 0, `${folder}/: no *${kept}`);
      for (const file of files) {
        let subject = file;
        if (target === 'spirv') {
          subject = join(scratch, `${folder}-${basename(file)}.spv`);
          const words = await run('spirv-as', ['--target-env', 'spv1.3', file, '-o', subject]);
          if (words) {
            report(false, `${file}: spirv-as: ${words}`);
            continue;
          }
        }
        const words = await judge(subject);
        const name = `${folder}/${basename(file)}`;
        if (folder === 'sound') {
          report(!words, `${name}: rejected\n${indented(words ?? '')}`);
        } else {
          const reason = /expect: (.+)/.exec(readFileSync(file, 'utf8'))[1].trim();
          report(words?.includes(reason), `${name}: ${words ? `rejected, but not for "${reason}"\n${indented(words)}` : 'accepted'}`);
        }
      }
    }
  }
  // Nor may an empty folder pass.
  const silent = console.log;
  console.log = () => {};
  const { failed: empty } = await main(join(scratch, 'empty'), Object.keys(judges));
  const partial = join(scratch, 'partial');
  for (const target of ['glsl', 'wgsl']) mkdirSync(join(partial, target), { recursive: true });
  copyFileSync(join(here, 'sound', 'sum.wgsl'), join(partial, 'wgsl', 'sum.wgsl'));
  copyFileSync(join(here, 'sound', 'sum.wgsl'), join(partial, 'wgsl', 'scale.wgsl'));
  copyFileSync(join(here, 'sound', 'scale.comp.glsl'), join(partial, 'glsl', 'scale.comp.glsl'));
  const { failed: lacking } = await main(partial, ['glsl', 'wgsl']);
  console.log = silent;
  report(empty === Object.keys(judges).length, 'a folder without files passed');
  report(lacking === 1, 'a kernel that one target lacks was not missed');
  return { passed, failed };
}

const [first, ...rest] = process.argv.slice(2);
const unknown = rest.filter((target) => !(target in judges));
if (!first || unknown.length > 0) {
  console.error(`usage: judge.mjs --self-test | FOLDER [${Object.keys(judges).join('|')}]…`);
  process.exit(2);
}
const { passed, failed } =
  first === '--self-test' ? await selfTest() : await main(first, rest.length > 0 ? rest : Object.keys(judges));
console.log(`${passed} passed, ${failed} failed`);
// Dawn's threads would keep the process alive.
process.exit(failed > 0 ? 1 : 0);
