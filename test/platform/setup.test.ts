import { describe, expect, test } from "vitest";
import { setUp } from "../../src/platform/setup.ts";
import type { Outcome, SetupHost } from "../../src/platform/setup-host.ts";
import {
  BACKPORTS_FILE,
  type Command,
  type Machine,
  planInstall,
} from "../../src/platform/setup-plan.ts";

const DEBIAN_12 = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
`;
const UBUNTU_22 = `PRETTY_NAME="Ubuntu 22.04.5 LTS"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
`;

function policy(candidate: string, ...origins: string[]): string {
  const table = origins.map((origin) => `     ${candidate} 500\n        500 ${origin} Packages\n`);
  return `mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: ${candidate}\n  Version table:\n${table.join("")}`;
}

const OLD_MESA = policy("22.3.6-1+deb12u1", "http://mirror.example/debian bookworm/main amd64");
const NEW_MESA = policy("25.0.7-2", "http://mirror.example/debian trixie/main amd64");

const debian12: Machine = {
  platform: "linux",
  osRelease: DEBIAN_12,
  hasApt: true,
  privilege: "root",
  mesaPolicy: OLD_MESA,
};

/** The commands of every attempt as a person would read them, without apt's options. */
function attempts(machine: Machine): string[][] {
  const plan = planInstall(machine);
  if (plan.kind !== "install") throw new Error(plan.lines.join("\n"));
  return plan.attempts.map(({ commands }) => commands.map(brief));
}

function brief({ argv }: Command): string {
  return argv.join(" ").replace(/env \S+ | -o \S+| -y| --no-install-recommends/g, "");
}

function advice(machine: Machine): string {
  const plan = planInstall(machine);
  if (plan.kind !== "advise") throw new Error(JSON.stringify(plan));
  return plan.lines.join("\n");
}

describe("planInstall", () => {
  test("takes Mesa from the backports where Debian's own is too old", () => {
    expect(attempts(debian12)).toEqual([
      [
        `tee ${BACKPORTS_FILE}`,
        "apt-get update",
        "apt-get install -t bookworm-backports libvulkan1 mesa-vulkan-drivers",
      ],
    ]);
  });

  test("writes a signed deb822 source on the mirror that serves the release", () => {
    const plan = planInstall(debian12);
    const source = plan.kind === "install" ? plan.attempts[0]?.commands[0]?.input : undefined;
    expect(source?.split("\n").slice(1)).toEqual([
      "Types: deb",
      "URIs: http://mirror.example/debian",
      "Suites: bookworm-backports",
      "Components: main",
      "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
      "",
    ]);
  });

  test("does not take the security archive for a mirror", () => {
    const security = "http://security.example/debian-security bookworm-security/main amd64";
    const plan = planInstall({ ...debian12, mesaPolicy: policy("22.3.6-1", security) });
    expect(JSON.stringify(plan)).toContain("URIs: http://deb.debian.org/debian\\n");
  });

  test("adds no source where the backports are known already", () => {
    const known = `${OLD_MESA}        100 http://mirror.example/debian bookworm-backports/main amd64 Packages\n`;
    expect(attempts({ ...debian12, mesaPolicy: known })).toEqual([
      ["apt-get install -t bookworm-backports libvulkan1 mesa-vulkan-drivers"],
    ]);
  });

  test("prefers the release's own Mesa where it is new enough, and keeps the backports in reserve", () => {
    const trixie = DEBIAN_12.replaceAll("bookworm", "trixie");
    const [own, backports] = attempts({ ...debian12, osRelease: trixie, mesaPolicy: NEW_MESA });
    expect(own).toEqual(["apt-get install libvulkan1 mesa-vulkan-drivers"]);
    expect(backports?.at(-1)).toContain("-t trixie-backports");
  });

  test("looks past the epoch of a Debian version", () => {
    expect(attempts({ ...debian12, mesaPolicy: policy("1:24.1.0-1") })).toHaveLength(2);
    expect(attempts({ ...debian12, mesaPolicy: policy("25:22.3.6-1") })).toHaveLength(1);
  });

  test("never turns to backports on Ubuntu", () => {
    const ubuntu = { ...debian12, osRelease: UBUNTU_22 };
    expect(attempts({ ...ubuntu, mesaPolicy: NEW_MESA })).toEqual([
      ["apt-get install libvulkan1 mesa-vulkan-drivers"],
    ]);
    expect(advice({ ...ubuntu, mesaPolicy: OLD_MESA })).toMatch(
      /^Ubuntu 22.04.5 LTS offers Mesa 22.3.6-1\+deb12u1, which Dawn refuses/,
    );
    expect(advice({ ...ubuntu, mesaPolicy: "" })).toContain("offers no mesa-vulkan-drivers");
  });

  test("puts sudo before every command, and only where it is needed", () => {
    const [commands] = attempts({ ...debian12, privilege: "sudo" });
    expect(commands?.every((line) => line.startsWith("sudo "))).toBe(true);
    expect(JSON.stringify(attempts(debian12))).not.toContain("sudo");
  });

  test("advises where it may not or cannot install", () => {
    expect(advice({ ...debian12, privilege: "none" })).toContain("needs root");
    expect(advice({ ...debian12, platform: "darwin" })).toContain("Metal");
    expect(advice({ ...debian12, hasApt: false, osRelease: "" })).toContain("libvulkan.so.1");
    const rocky = 'ID="rocky"\nID_LIKE="rhel centos fedora"\n';
    expect(advice({ ...debian12, hasApt: false, osRelease: rocky })).toContain("dnf install");
  });
});

/** A machine on which `install` makes Dawn find an adapter once `worksAfter` of them have run. */
class FakeMachine implements SetupHost {
  readonly ran: string[] = [];
  readonly machine: Machine;
  readonly worksAfter: number;
  readonly failing: RegExp | undefined;

  constructor(worksAfter: number, machine: Machine = debian12, failing?: RegExp) {
    this.worksAfter = worksAfter;
    this.machine = machine;
    this.failing = failing;
  }

  async probe(): Promise<Outcome> {
    const installs = this.ran.filter((line) => line.includes(" install ")).length;
    const found = installs >= this.worksAfter;
    return found
      ? { status: 0, stdout: "the adapter\n", output: "the adapter\n" }
      : { status: 0, stdout: "", output: "Warning: Dawn says why" };
  }

  inspect(): Machine {
    return this.machine;
  }

  async run(command: Command): Promise<Outcome> {
    this.ran.push(brief(command));
    const fails = this.failing?.test(brief(command)) ?? false;
    return { status: fails ? 100 : 0, stdout: "", output: fails ? "E: apt says why" : "chatter" };
  }
}

async function setUpOn(host: SetupHost): Promise<{ adapter: string | undefined; log: string }> {
  const lines: string[] = [];
  const adapter = await setUp(host, { log: (line) => lines.push(line) });
  return { adapter, log: lines.join("\n") };
}

describe("setUp", () => {
  test("does and says nothing where Dawn finds an adapter", async () => {
    const host = new FakeMachine(0);
    expect(await setUpOn(host)).toEqual({ adapter: "the adapter", log: "" });
    expect(host.ran).toEqual([]);
  });

  test("says every command, hides its output, and ends with the adapter", async () => {
    const host = new FakeMachine(1);
    const { adapter, log } = await setUpOn(host);
    expect(adapter).toBe("the adapter");
    expect(host.ran).toHaveLength(4);
    expect(log).toContain("apt-get install");
    expect(log).toContain("Suites: bookworm-backports");
    expect(log).not.toContain("chatter");
  });

  test("asks Dawn after each attempt", async () => {
    const host = new FakeMachine(2, { ...debian12, mesaPolicy: NEW_MESA });
    expect((await setUpOn(host)).adapter).toBe("the adapter");
    expect(host.ran.filter((line) => line.includes("install"))).toHaveLength(2);
  });

  test("says why Dawn refuses what was installed", async () => {
    const { adapter, log } = await setUpOn(new FakeMachine(Number.POSITIVE_INFINITY));
    expect(adapter).toBeUndefined();
    expect(log).toContain("Dawn says why");
  });

  test("takes its source file away again when the backports cannot be reached", async () => {
    const host = new FakeMachine(1, debian12, /install/);
    const { adapter, log } = await setUpOn(host);
    expect(adapter).toBeUndefined();
    expect(log).toContain("E: apt says why");
    expect(host.ran.at(-1)).toBe(`rm -f ${BACKPORTS_FILE}`);
  });

  test("goes on after a failed update of the lists", async () => {
    const host = new FakeMachine(1, { ...debian12, mesaPolicy: NEW_MESA }, /update/);
    expect((await setUpOn(host)).adapter).toBe("the adapter");
  });

  test("runs nothing where it can only advise", async () => {
    const host = new FakeMachine(1, { ...debian12, privilege: "none" });
    const { adapter, log } = await setUpOn(host);
    expect(adapter).toBeUndefined();
    expect(log).toContain("needs root");
    expect(host.ran).toEqual([]);
  });

  test("does not install drivers for a Dawn that does not run", async () => {
    const host = new FakeMachine(1);
    host.probe = async () => ({ status: 1, stdout: "", output: "GLIBC_2.38 not found" });
    const { adapter, log } = await setUpOn(host);
    expect(adapter).toBeUndefined();
    expect(log).toContain("GLIBC_2.38 not found");
    expect(host.ran).toEqual([]);
  });
});
