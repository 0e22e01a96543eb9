/** Plans what set-up does on a machine, from facts alone: nothing here runs a command. */

/** Facts about a machine that can be read without changing it. */
export interface Machine {
  readonly platform: NodeJS.Platform;
  /** The text of `/etc/os-release`; empty if there is none. */
  readonly osRelease: string;
  readonly hasApt: boolean;
  /** How commands become root: they are already, by `sudo`, or not at all. */
  readonly privilege: "root" | "sudo" | "none";
  /** What `apt-cache policy mesa-vulkan-drivers` prints; empty if there is no apt. */
  readonly mesaPolicy: string;
}

export interface Command {
  readonly argv: readonly string[];
  /** Text for the command's standard input. */
  readonly input?: string;
}

/** One way of getting a driver. */
export interface Attempt {
  readonly from: string;
  readonly commands: readonly Command[];
  /** Undoes what the commands left behind if one of them fails. */
  readonly undo?: Command;
}

export type Plan =
  | { readonly kind: "install"; readonly attempts: readonly Attempt[] }
  | { readonly kind: "advise"; readonly lines: readonly string[] };

export const BACKPORTS_FILE = "/etc/apt/sources.list.d/dawnstream-backports.sources";

const PACKAGES = ["libvulkan1", "mesa-vulkan-drivers"] as const;

/** The first Mesa worth trying. Dawn refuses the llvmpipe of 22.3.6 and accepts that of 25.0.7. */
const OLDEST_MESA = 23;

const DEBIAN_MIRROR = "http://deb.debian.org/debian";

/** Whether set-up can install anything here; if not, `planInstall` has only advice to give. */
export function canInstall(machine: Machine): boolean {
  return machine.platform === "linux" && machine.hasApt && machine.privilege !== "none";
}

/** The command that brings apt's package lists, and so `mesaPolicy`, up to date. */
export function refreshLists(machine: Machine): Command {
  return apt(machine, "update");
}

/**
 * What to do on a machine on which Dawn finds no adapter. Only Dawn decides whether it accepts a
 * driver, so try the attempts in order until it does.
 */
export function planInstall(machine: Machine): Plan {
  const system = parseOsRelease(machine.osRelease);
  if (!canInstall(machine)) return { kind: "advise", lines: advise(machine, system) };

  const mesa = parsePolicy(machine.mesaPolicy);
  const attempts: Attempt[] = [];
  if (mesa.candidate && major(mesa.candidate) >= OLDEST_MESA) {
    attempts.push({
      from: `Mesa ${mesa.candidate}`,
      commands: [apt(machine, "install", ...PACKAGES)],
    });
  }
  // Debian alone has newer Mesas in its backports; Ubuntu's backports have none.
  if (system.id === "debian" && system.codename) {
    attempts.push(fromBackports(machine, system.codename, mesa));
  }
  return attempts.length > 0
    ? { kind: "install", attempts }
    : { kind: "advise", lines: tooOld(system, mesa.candidate) };
}

function fromBackports(machine: Machine, codename: string, mesa: Policy): Attempt {
  const suite = `${codename}-backports`;
  const from = `Mesa from ${suite}`;
  const install = apt(machine, "install", "-t", suite, ...PACKAGES);
  if (mesa.origins.some((origin) => origin.suite === suite)) return { from, commands: [install] };

  // The mirror of the release also has its backports, and may be the only one reachable.
  const mirror = mesa.origins.find((origin) => origin.suite === codename)?.uri ?? DEBIAN_MIRROR;
  const addSource: Command = {
    argv: asRoot(machine, "tee", BACKPORTS_FILE),
    input: backportsSource(mirror, suite),
  };
  return {
    from,
    commands: [addSource, refreshLists(machine), install],
    undo: { argv: asRoot(machine, "rm", "-f", BACKPORTS_FILE) },
  };
}

/** What the user can do if set-up can do nothing. */
function advise(machine: Machine, system: OsRelease): readonly string[] {
  if (machine.platform !== "linux") {
    return [
      "Dawn uses the system's own graphics driver here (Metal on macOS, Direct3D 12 on Windows), and found none.",
      "Update the system or the graphics driver. In a virtual machine, switch its 3D acceleration on.",
    ];
  }
  if (!machine.hasApt) {
    const install = driverOf(system);
    return install
      ? [
          "Install the Vulkan loader and Mesa's software driver, then run this again:",
          `  ${install}`,
        ]
      : [
          "Install the Vulkan loader (libvulkan.so.1) and a Vulkan driver: the GPU's own,",
          `or Mesa ${OLDEST_MESA} or newer with llvmpipe, which runs on any CPU. Then run this again.`,
        ];
  }
  return ["Installing a driver needs root: run this again as root, or from a terminal with sudo."];
}

function tooOld(system: OsRelease, candidate: string | undefined): readonly string[] {
  const offer = candidate ? `Mesa ${candidate}, which Dawn refuses` : "no mesa-vulkan-drivers";
  return [
    `${system.name ?? "This system"} offers ${offer}.`,
    `Install Mesa ${OLDEST_MESA} or newer (a newer release of the system has it) or the GPU's own Vulkan driver.`,
  ];
}

/**
 * How systems without apt install the driver, by the id they give themselves or the family they
 * name.
 */
function driverOf(system: OsRelease): string | undefined {
  const commands: Record<string, string> = {
    fedora: "sudo dnf install vulkan-loader mesa-vulkan-drivers",
    rhel: "sudo dnf install vulkan-loader mesa-vulkan-drivers",
    arch: "sudo pacman -S vulkan-icd-loader vulkan-swrast",
    suse: "sudo zypper install libvulkan1 libvulkan_lvp",
    opensuse: "sudo zypper install libvulkan1 libvulkan_lvp",
  };
  const family = [system.id ?? "", ...(system.like ?? [])];
  return family.map((id) => commands[id]).find(Boolean);
}

function apt(machine: Machine, action: "update" | "install", ...words: string[]): Command {
  // The lock is often held for a minute on a machine that has just booted and updates itself.
  const options = ["-o", "DPkg::Lock::Timeout=300"];
  if (action === "install") options.push("-y", "--no-install-recommends");
  const argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", action, ...options, ...words];
  return { argv: asRoot(machine, ...argv) };
}

function asRoot(machine: Machine, ...argv: string[]): string[] {
  return machine.privilege === "sudo" ? ["sudo", ...argv] : argv;
}

function backportsSource(mirror: string, suite: string): string {
  return [
    "# Written by `dawnstream setup`: the release's own Mesa is too old for Dawn.",
    "Types: deb",
    `URIs: ${mirror}`,
    `Suites: ${suite}`,
    "Components: main",
    "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    "",
  ].join("\n");
}

interface OsRelease {
  readonly id?: string | undefined;
  readonly like?: readonly string[];
  readonly codename?: string | undefined;
  readonly name?: string | undefined;
}

function parseOsRelease(text: string): OsRelease {
  const fields = new Map<string, string>();
  for (const [, key, value] of text.matchAll(/^(\w+)=["']?(.*?)["']?$/gm)) fields.set(key!, value!);
  return {
    id: fields.get("ID"),
    like: (fields.get("ID_LIKE") ?? "").split(" "),
    codename: fields.get("VERSION_CODENAME"),
    name: fields.get("PRETTY_NAME"),
  };
}

interface Policy {
  /** The version that apt would install. */
  readonly candidate: string | undefined;
  /** The sources that have any version of the package. */
  readonly origins: readonly { readonly uri: string; readonly suite: string }[];
}

/**
 * Reads lines such as `  Candidate: 22.3.6-1` and
 * `   500 http://host/debian bookworm/main amd64 Packages`.
 */
function parsePolicy(text: string): Policy {
  const candidate = /^ *Candidate: (\d\S*)/m.exec(text)?.[1];
  const origins = [...text.matchAll(/^ *-?\d+ (\S+:\S+) ([^\s/]+)\/\S+ \S+ Packages/gm)];
  return { candidate, origins: origins.map(([, uri, suite]) => ({ uri: uri!, suite: suite! })) };
}

/** The upstream major number in a Debian version: 25 of `25.0.7-2~bpo12+1`, 22 of `1:22.3.6-1`. */
function major(version: string): number {
  return Number.parseInt(version.replace(/^\d+:/, ""), 10);
}
