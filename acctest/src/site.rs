//! A site for a story: the real bootd and the simulated rack, each a process of its own on loopback, nothing shared but sockets.
//!
//! Not here: any knowledge of what bootd or the rack do inside. A story sees them as an operator does: HCL, `metalctl`, `rack`.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tf::{Engine, Ran, Terraform};

/// How a story's site differs from the plain one.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Machines in the rack.
    pub servers: usize,
    /// `[registration] mode`.
    pub registration: &'static str,
    /// A spec for the rack in place of `servers` plain machines.
    pub spec: Option<String>,
    /// Seconds for every deadline of a netboot stage.
    pub stage_seconds: u32,
    /// Users of bootd and of the rack, where the story runs as root.
    pub users: Option<(u32, u32)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            servers: 1,
            registration: "declared",
            spec: None,
            stage_seconds: 60,
            users: None,
        }
    }
}

/// A running site. Dropping it ends both processes.
#[derive(Debug)]
pub struct Site {
    root: tempfile::TempDir,
    plan: Plan,
    bootd: Option<Child>,
    rack: Option<Child>,
    /// `rack.json` as the rack wrote it.
    pub inventory: Value,
}

/// One of our programs, built beside this test.
pub fn program(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("a test knows its own path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{name} is not built: run `cargo build --workspace --bins` first (scripts/test does)"
    );
    path
}

fn free_port() -> u16 {
    // Free for TCP and UDP alike; the small race with other processes shows as a clear "address in use" of bootd.
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = tcp
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Site {
    /// Starts the rack, makes bootd's CA, starts bootd and gives it the rack's BMC credentials.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("site-").tempdir()?;
        let mut site = Self {
            root,
            plan,
            bootd: None,
            rack: None,
            inventory: Value::Null,
        };
        for (name, user) in [
            ("bootd", site.plan.users.map(|u| u.0)),
            ("rack", site.plan.users.map(|u| u.1)),
        ] {
            let dir = site.path(name);
            std::fs::create_dir(&dir)?;
            if let Some(uid) = user {
                std::os::unix::fs::chown(&dir, Some(uid), Some(uid))?;
            }
        }
        if site.plan.users.is_some() {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(site.root.path(), std::fs::Permissions::from_mode(0o755))?;
        }
        let ports: Vec<u16> = (0..8).map(|_| free_port()).collect();
        site.start_rack(&ports)?;
        site.init_bootd(&ports)?;
        site.start_bootd()?;
        site.give_credentials()?;
        Ok(site)
    }

    /// A path below the story's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn as_user(command: &mut Command, uid: Option<u32>) -> &mut Command {
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    fn start_rack(&mut self, ports: &[u16]) -> io::Result<()> {
        let dir = self.path("rack");
        let endpoints = self.path("endpoints.toml");
        let text = format!(
            "dhcp = \"127.0.0.1:{}\"\npxe = \"127.0.0.1:{}\"\ntftp_port = {}\n",
            ports[1], ports[2], ports[3]
        );
        std::fs::write(&endpoints, text)?;
        let mut command = Command::new(program("rack"));
        command
            .args(["up", "--dir"])
            .arg(&dir)
            .arg("--bootd")
            .arg(&endpoints);
        let plain = || {
            (1..=self.plan.servers)
                .map(|n| format!("[[server]]\nname = \"b{n}\"\n"))
                .collect()
        };
        let spec: String = self.plan.spec.clone().unwrap_or_else(plain);
        let file = self.path("rack-spec.toml");
        std::fs::write(&file, spec)?;
        command.arg("--spec").arg(file);
        Self::as_user(&mut command, self.plan.users.map(|u| u.1));
        let log = std::fs::File::create(self.path("rack.log"))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        wait_ready(&mut child, "rack", &self.path("rack.log"));
        self.rack = Some(child);
        self.inventory = serde_json::from_slice(&std::fs::read(dir.join("rack.json"))?)?;
        Ok(())
    }

    fn init_bootd(&self, ports: &[u16]) -> io::Result<()> {
        let dir = self.path("bootd");
        let mut init = Command::new(program("bootd"));
        init.args(["init", "--advertise", "127.0.0.1", "--dir"])
            .arg(&dir);
        let out = Self::as_user(&mut init, self.plan.users.map(|u| u.0)).output()?;
        assert!(
            out.status.success(),
            "bootd init failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let bundle = std::fs::read_to_string(dir.join("admin.bundle"))?;
        let bundle = bundle.replace("127.0.0.1:7443", &format!("127.0.0.1:{}", ports[0]));
        write_private(&self.path("admin.bundle"), &bundle)?;
        std::fs::write(
            self.path("kernel"),
            "a kernel's place in the simulated rack",
        )?;
        std::fs::write(dir.join("bootd.toml"), self.bootd_toml(ports))
    }

    fn bootd_toml(&self, ports: &[u16]) -> String {
        let mut text = format!(
            "state_dir = {:?}\nadvertise = \"127.0.0.1\"\n",
            self.path("bootd")
        );
        let boot = agent_boot();
        // The rack runs the agent's own code and no kernel: any file takes its place.
        let at = |i: usize| format!("\"127.0.0.1:{}\"", ports[i]);
        let _ = write!(
            text,
            "[api]\nlisten = {}\n[registration]\nmode = \"{}\"\n",
            at(0),
            self.plan.registration
        );
        let _ = write!(
            text,
            "[netboot]\ndhcp = {}\npxe = {}\ntftp = {}\nhttp = {}\nhttps = {}\nassets = \"/usr/lib/ipxe\"\n",
            at(1),
            at(2),
            at(3),
            at(4),
            at(5)
        );
        let _ = write!(text, "[sinks]\nevents = {}\nkmsg = {}\n", at(6), at(7));
        let _ = write!(
            text,
            "[agent]\nkernel = {:?}\ninitrd = {:?}\n",
            self.path("kernel"),
            boot.join("agent-initrd")
        );
        let factory = self.inventory["factory"].as_str().unwrap_or_default();
        let _ = write!(
            text,
            "[images]\nfactory = \"{factory}\"\n[egress]\nallow = [\"127.0.0.0/8\"]\n"
        );
        let s = self.plan.stage_seconds;
        let _ = writeln!(text, "[deadlines]");
        for stage in [
            "power",
            "dhcp",
            "boot_file",
            "script",
            "kernel",
            "agent",
            "erase",
            "config",
            "install",
            "boot",
            "wipe",
        ] {
            let _ = writeln!(text, "{stage} = \"{s}s\"");
        }
        text
    }

    /// Starts bootd and waits until it says that it serves.
    pub fn start_bootd(&mut self) -> io::Result<()> {
        let mut command = Command::new(program("bootd"));
        command
            .args(["serve", "--config"])
            .arg(self.path("bootd").join("bootd.toml"));
        Self::as_user(&mut command, self.plan.users.map(|u| u.0));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("bootd.log"))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        wait_ready(&mut child, "bootd", &self.path("bootd.log"));
        self.bootd = Some(child);
        Ok(())
    }

    /// `kill -9` of bootd.
    pub fn kill_bootd(&mut self) -> io::Result<()> {
        let mut child = self.bootd.take().expect("bootd runs");
        let killed = child.kill();
        child.wait()?;
        killed
    }

    fn give_credentials(&self) -> io::Result<()> {
        for server in self.servers() {
            let bmc = &server["bmc"];
            let (name, user) = (
                server["name"].as_str().unwrap_or_default(),
                bmc["username"].as_str().unwrap_or_default(),
            );
            let mut child = self
                .metalctl_command(&["credentials", "set", name, "--username", user])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                io::Write::write_all(
                    &mut stdin,
                    bmc["password"].as_str().unwrap_or_default().as_bytes(),
                )?;
            }
            let out = child.wait_with_output()?;
            assert!(
                out.status.success(),
                "metalctl: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(())
    }

    /// The servers of `rack.json`.
    pub fn servers(&self) -> &[Value] {
        self.inventory["servers"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    /// The value of the lab's `boxes` variable for the first `count` servers of the rack.
    pub fn boxes(&self, count: usize) -> Value {
        let boxes = self.servers().iter().take(count).map(|s| {
            let name = s["name"].as_str().unwrap_or_default().to_owned();
            let value = json!({
                "mac": s["macs"][0], "bmc": s["bmc"]["address"], "port": s["bmc"]["port"], "credentials": name,
            });
            (name, value)
        });
        Value::Object(boxes.collect())
    }

    fn metalctl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("metalctl"));
        command
            .arg("--bundle")
            .arg(self.path("admin.bundle"))
            .args(args);
        command
    }

    /// Runs `metalctl`.
    pub fn metalctl(&self, args: &[&str]) -> io::Result<Ran> {
        run(&mut self.metalctl_command(args))
    }

    /// Runs a command of `rack` that takes `--dir`.
    pub fn rack(&self, args: &[&str]) -> io::Result<Ran> {
        let mut command = Command::new(program("rack"));
        command.args(args);
        Self::as_user(&mut command, self.plan.users.map(|u| u.1));
        run(&mut command)
    }

    /// `rack fault DIR SERVER KIND`.
    pub fn fault(&self, server: &str, kind: &str) -> io::Result<Ran> {
        let dir = self.path("rack");
        self.rack(&["fault", &dir.to_string_lossy(), server, kind])
    }

    /// `rack power DIR SERVER on|off|pull`.
    pub fn power(&self, server: &str, what: &str) -> io::Result<Ran> {
        let dir = self.path("rack");
        self.rack(&["power", &dir.to_string_lossy(), server, what])
    }

    /// `rack seed-disk DIR SERVER DISK CONTENT`.
    pub fn seed_disk(&self, server: &str, disk: &str, content: &str) -> io::Result<Ran> {
        let dir = self.path("rack");
        self.rack(&["seed-disk", &dir.to_string_lossy(), server, disk, content])
    }

    /// `rack disks --json`: what is on every disk, each with its server's name.
    pub fn disks(&self) -> io::Result<Vec<Value>> {
        let dir = self.path("rack");
        let out = self
            .rack(&["disks", "--dir", &dir.to_string_lossy(), "--json"])?
            .ok();
        let all: Value = serde_json::from_str(&out.text)?;
        let servers = all["servers"].as_array().cloned().unwrap_or_default();
        let disks = |server: &Value| server["disks"].as_array().cloned().unwrap_or_default();
        Ok(servers
            .iter()
            .flat_map(|server| {
                disks(server).into_iter().map(|mut disk| {
                    disk["server"] = server["name"].clone();
                    disk
                })
            })
            .collect())
    }

    /// `rack status --json` of one server: its stage, faults, and how often it did what.
    pub fn machine(&self, name: &str) -> io::Result<Value> {
        let dir = self.path("rack");
        let out = self
            .rack(&["status", "--dir", &dir.to_string_lossy(), "--json"])?
            .ok();
        let all: Value = serde_json::from_str(&out.text)?;
        let found = all["servers"]
            .as_array()
            .and_then(|servers| servers.iter().find(|s| s["name"] == name).cloned());
        found.ok_or_else(|| io::Error::other(format!("no server {name} in the rack")))
    }

    /// `metalctl servers --json`.
    pub fn machines(&self) -> io::Result<Value> {
        let out = self.metalctl(&["servers", "--json"])?.ok();
        Ok(serde_json::from_str(&out.text)?)
    }

    /// Terraform on a module, with the bundle and the first `boxes` servers as variables.
    pub fn terraform(
        &self,
        engine: &Engine,
        module: &Path,
        name: &str,
        boxes: usize,
    ) -> io::Result<Terraform> {
        let tf = Terraform::init(
            engine.clone(),
            module,
            &self.path(name),
            &program("terraform-provider-metal"),
        )?;
        tf.variables(
            &json!({ "bundle_file": self.path("admin.bundle"), "boxes": self.boxes(boxes) }),
        )?;
        Ok(tf)
    }

    /// All that bootd and the rack logged; for the message of a failing story.
    pub fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        format!(
            "--- bootd\n{}\n--- rack\n{}",
            tail(&read("bootd.log")),
            tail(&read("rack.log"))
        )
    }

    /// Waits until `seen` answers something. Polls: a story watches from outside, as an operator does.
    #[track_caller]
    pub fn eventually<T>(
        &self,
        what: &str,
        seconds: u64,
        mut seen: impl FnMut() -> Option<T>,
    ) -> T {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(value) = seen() {
                return value;
            }
            assert!(
                Instant::now() < end,
                "{what}: not seen in {seconds} s\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(
                clippy::print_stderr,
                reason = "a failing story shows what the processes said"
            )]
            {
                eprintln!("{}", self.logs());
            }
        }
        for mut child in [self.bootd.take(), self.rack.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where `scripts/agent-initrd` put the agent's boot files.
fn agent_boot() -> PathBuf {
    let target = program("bootd")
        .parent()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .unwrap_or_default();
    let dir = target.join("agent-boot");
    assert!(
        dir.join("agent-initrd").is_file(),
        "no agent-initrd: run `scripts/agent-initrd target/agent-boot` first (scripts/test does)"
    );
    dir
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn wait_ready(child: &mut Child, name: &str, log: &Path) {
    let out = child.stdout.take().expect("stdout is piped");
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if line.trim() == "ready" {
            return;
        }
    }
    let said = std::fs::read_to_string(log).unwrap_or_default();
    panic!("{name} ended before it was ready:\n{}", tail(&said));
}

fn run(command: &mut Command) -> io::Result<Ran> {
    let out = command.stdin(Stdio::null()).output()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(Ran {
        code: out.status.code().unwrap_or(-1),
        text,
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}
