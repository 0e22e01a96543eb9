// A kernel is a WGSL shader, and the shader is its interface: the host binds by the name of a WGSL
// variable and packs `Params` by field name. A mismatch throws here, with the kernel's name.
//
// House rules that make reading the interface safe: group 0 only, one declaration a line, `Params`
// fields of 32 bits.

import type { Device } from "./device.ts";
import { COMPUTE_STAGE } from "./usage-flags.ts";

/**
 * The text of a WGSL file by its name without extension, such as "matrix/matvec" or
 * "weights/formats/q4-k".
 */
export type ShaderSource = (name: string) => string;

/**
 * The host and a shader disagree, or the shader does not compile. Always a bug in dawnstream, never
 * a user's mistake.
 */
export class KernelError extends Error {
  override readonly name = "KernelError";
}

export interface KernelSpec {
  /** The shader, such as "matrix/matvec". */
  readonly shader: string;
  /** WGSL files appended to it: a weight format, how a cache stores numbers, a reduction. */
  readonly fragments?: readonly string[];
  /** Values of `override` declarations: what the model and the adapter fix. */
  readonly overrides?: Readonly<Record<string, number>>;
}

export interface Binding {
  readonly index: number;
  readonly type: "uniform" | "storage" | "read-only-storage" | TextureType;
}

/** What a variable of a shader is bound to. */
export type Bound = GPUBufferBinding | GPUTextureView;

/** The texel format of a texture that is read as storage. */
export type TextureType = "rgba32uint" | "rg32uint";

export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

const BINDING =
  /^@group\(0\) @binding\((\d+)\) var<(uniform|storage, read|storage, read_write)> (\w+):/gm;
const TEXTURE =
  /^@group\(0\) @binding\((\d+)\) var (\w+): texture_storage_2d<(rgba32uint|rg32uint), read>;/gm;
const PARAMS = /^struct Params \{([^}]*)\}/m;
const FIELD = /^\s*(\w+): (u32|i32|f32),/gm;
const OVERRIDE = /^override (\w+)\s*:/gm;
const ENABLE = /^enable [\w, ]+;$/gm;

/** A compiled shader with its overrides fixed. */
export class Kernel {
  readonly name: string;
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly params: readonly ParamField[];
  readonly layout: GPUBindGroupLayout;
  /** Settles when the pipeline is compiled; rejects with a `KernelError`. */
  readonly ready: Promise<GPUComputePipeline>;
  #pipeline: GPUComputePipeline | undefined;

  constructor(device: Device, spec: KernelSpec, source: ShaderSource) {
    const parts = partsOf(spec, source);
    this.name = nameOf(parts.map(({ name }) => name));
    const text = parts.map((part) => part.text).join("\n");
    this.bindings = readBindings(this.name, text);
    this.params = [...(PARAMS.exec(text)?.[1] ?? "").matchAll(FIELD)].map(
      ([, name, type]) => ({ name, type }) as ParamField,
    );
    const declared = new Set([...text.matchAll(OVERRIDE)].map(([, name]) => name));
    for (const name of Object.keys(spec.overrides ?? {})) {
      if (!declared.has(name)) throw new KernelError(`${this.name}: no override named ${name}`);
    }
    this.layout = device.handle.createBindGroupLayout({
      label: this.name,
      entries: [...this.bindings.values()].map(({ index, type }) => ({
        binding: index,
        visibility: COMPUTE_STAGE,
        ...(isTexture(type)
          ? { storageTexture: { format: type, access: "read-only" } }
          : { buffer: { type } }),
      })),
    });
    this.ready = this.#compile(device, text, spec.overrides ?? {});
  }

  /** The pipeline; throws before `ready` has settled. */
  get pipeline(): GPUComputePipeline {
    if (!this.#pipeline) throw new KernelError(`${this.name}: used before it was compiled`);
    return this.#pipeline;
  }

  /** Binds every variable of the shader by name; a missing or unknown name throws. */
  bind(device: Device, resources: Readonly<Record<string, Bound>>): GPUBindGroup {
    for (const name of Object.keys(resources)) {
      if (!this.bindings.has(name)) throw new KernelError(`${this.name}: no binding named ${name}`);
    }
    return device.handle.createBindGroup({
      label: this.name,
      layout: this.layout,
      entries: [...this.bindings].map(([name, { index }]) => {
        const resource = resources[name];
        if (!resource) throw new KernelError(`${this.name}: missing binding ${name}`);
        return { binding: index, resource };
      }),
    });
  }

  async #compile(
    device: Device,
    code: string,
    constants: Readonly<Record<string, number>>,
  ): Promise<GPUComputePipeline> {
    // A shader that does not parse is reported below, with its text, and must not be reported as an
    // uncaptured error too.
    device.handle.pushErrorScope("validation");
    const module = device.handle.createShaderModule({ label: this.name, code });
    const parsed = device.handle.popErrorScope();
    try {
      await parsed;
      this.#pipeline = await device.compile({
        label: this.name,
        layout: device.handle.createPipelineLayout({ bindGroupLayouts: [this.layout] }),
        compute: { module, constants: { ...constants } },
      });
      return this.#pipeline;
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const lines = code.split("\n");
      const notes = messages.map(
        ({ lineNum, linePos, message }) =>
          `${lineNum}:${linePos} ${message}\n    ${lines[lineNum - 1] ?? ""}`,
      );
      throw new KernelError(`${this.name}: ${[(error as Error).message, ...notes].join("\n")}`);
    }
  }
}

/** Keeps kernels by their specification, so that equal layers share a pipeline. */
export class KernelLibrary {
  readonly device: Device;
  readonly #source: ShaderSource;
  readonly #kernels = new Map<string, Kernel>();

  constructor(device: Device, source: ShaderSource) {
    this.device = device;
    this.#source = source;
  }

  /** The kernel of a specification. It compiles in the background; `ready()` waits for it. */
  kernel(spec: KernelSpec): Kernel {
    const key = JSON.stringify([spec.shader, spec.fragments, spec.overrides]);
    let kernel = this.#kernels.get(key);
    if (!kernel) {
      kernel = new Kernel(this.device, spec, this.#source);
      // Reported by ready(); without this a failure would first be an unhandled rejection.
      kernel.ready.catch(() => {});
      this.#kernels.set(key, kernel);
    }
    return kernel;
  }

  /** Waits until every kernel requested so far is compiled. */
  async ready(): Promise<void> {
    await Promise.all([...this.#kernels.values()].map((kernel) => kernel.ready));
  }
}

/**
 * The name of a kernel: its files, but of those that read weights only the format, since the others
 * follow from it and the adapter.
 */
function nameOf(files: readonly string[]): string {
  const format = files.find((file) => file.startsWith("weights/formats/"));
  const telling = files.filter((file) => file === format || !/^weights\/|\/planes\//.test(file));
  return telling.map((file) => file.replace(/^.*\//, "")).join(".");
}

/** A WGSL file as it is assembled into a module: its part of the module's text. */
export interface ShaderPart {
  readonly name: string;
  readonly text: string;
}

/** The parts of a kernel's module: its text is theirs, joined by line breaks. */
export function partsOf(spec: KernelSpec, source: ShaderSource): ShaderPart[] {
  const names = [spec.shader, ...(spec.fragments ?? [])];
  const texts = assemble(names.map(source));
  return names.map((name, i) => ({ name, text: texts[i]! }));
}

/**
 * The texts of several files, for one module: WGSL is independent of order, except that `enable`
 * must come first.
 */
export function assemble(files: readonly string[]): string[] {
  const enables = new Set(files.flatMap((file) => file.match(ENABLE) ?? []));
  // All on the first line, and blanked at their old places: so line numbers stay true.
  const first = [...enables].map((enable) => `${enable} `).join("");
  return files.map((file, i) => (i === 0 ? first : "") + file.replace(ENABLE, ""));
}

function isTexture(type: Binding["type"]): type is TextureType {
  return type === "rgba32uint" || type === "rg32uint";
}

function readBindings(kernel: string, text: string): Map<string, Binding> {
  const bindings = new Map<string, Binding>();
  const taken = new Map<number, string>();
  const add = (name: string, index: number, type: Binding["type"]) => {
    const other = taken.get(index);
    if (other) throw new KernelError(`${kernel}: ${other} and ${name} share binding ${index}`);
    taken.set(index, name);
    bindings.set(name, { index, type });
  };
  for (const [, index, space, name] of text.matchAll(BINDING)) {
    const type =
      space === "uniform" ? "uniform" : space === "storage, read" ? "read-only-storage" : "storage";
    add(name!, Number(index), type);
  }
  for (const [, index, name, format] of text.matchAll(TEXTURE)) {
    add(name!, Number(index), format as TextureType);
  }
  const declared = text.match(/@binding\(/g)?.length ?? 0;
  if (declared !== bindings.size) {
    throw new KernelError(`${kernel}: ${declared} bindings declared, ${bindings.size} understood`);
  }
  return bindings;
}
