//! A rack of one real machine: QEMU with OVMF's own network boot, two network namespaces, a site DHCP server that knows nothing of
//! netboot, and a BMC by OpenIPMI's simulator that owns the machine's power.
//!
//! ```text
//!   namespace boot (bootd's side)         namespace switch
//!   eth0 10.77.0.1  ── veth ──  br0 10.77.0.2 dnsmasq, 10.77.0.11 ipmi_sim ── tap0 ── QEMU
//! ```
//!
//! Every process dies with this one (`setpriv --pdeathsig`). Nothing is tried twice: a machine that does not boot is a finding.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

pub(crate) const BOOTD: &str = "10.77.0.1";
pub(crate) const BMC: &str = "10.77.0.11";
pub(crate) const MAC: &str = "52:54:00:77:00:01";
pub(crate) const UUID: &str = "4c4c4544-0042-3510-8052-c2c04f363932";
pub(crate) const SERIAL: &str = "RACK0001";
pub(crate) const DISK_BYTES: u64 = 96 << 20;
pub(crate) const PASSWORD: &str = "s3cret-16-bytes!";

const TOOLS: [&str; 9] = [
    "ip",
    "setpriv",
    "qemu-system-x86_64",
    "dnsmasq",
    "ipmi_sim",
    "ipmitool",
    "mkfs.ext4",
    "wipefs",
    "mkfifo",
];
const FIRMWARE: [&str; 3] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "/usr/lib/ipxe/snponly.efi",
];

/// Why the story cannot run here.
pub(crate) fn missing() -> Option<String> {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Some("it makes network namespaces and needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    let absent = |tool: &&&str| !dirs.iter().any(|dir| dir.join(tool).is_file());
    if let Some(tool) = TOOLS.iter().find(absent) {
        return Some(format!("there is no {tool}"));
    }
    if let Some(file) = FIRMWARE.iter().find(|file| !Path::new(file).is_file()) {
        return Some(format!("there is no {file} (packages ovmf and ipxe)"));
    }
    let files = agent_boot();
    ["agent-initrd", "vmlinuz", "modules"]
        .iter()
        .map(|name| files.join(name))
        .find(|file| !file.is_file())
        .map(|file| {
            format!(
                "there is no {}: run scripts/agent-initrd target/agent-boot --kernel",
                file.display()
            )
        })
}

/// Kernel, agent and modules, as `scripts/agent-initrd` makes them.
pub(crate) fn agent_boot() -> PathBuf {
    let mut dir = std::env::current_exe().expect("a test knows its own path");
    while dir.pop() {
        if dir.join("agent-boot").is_dir() {
            break;
        }
    }
    dir.join("agent-boot")
}

/// Two namespaces with the cable between them; gone when dropped.
pub(crate) struct Network {
    prefix: String,
}

impl Network {
    pub(crate) fn up() -> Self {
        let network = Self {
            prefix: format!("mq{}", std::process::id()),
        };
        let (switch, boot) = (network.switch(), network.boot());
        for name in [&switch, &boot] {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!(
            "-n {switch} link add br0 type bridge forward_delay 0 stp_state 0"
        ));
        ip(&format!(
            "-n {switch} link add cable type veth peer name eth0 netns {boot}"
        ));
        ip(&format!("-n {switch} tuntap add tap0 mode tap"));
        for port in ["cable", "tap0"] {
            ip(&format!("-n {switch} link set {port} master br0 up"));
        }
        for address in ["10.77.0.2/24", "10.77.0.11/24"] {
            ip(&format!("-n {switch} addr add {address} dev br0"));
        }
        ip(&format!("-n {switch} addr add fd77::2/64 dev br0 nodad"));
        ip(&format!("-n {switch} link set br0 up"));
        ip(&format!("-n {boot} addr add {BOOTD}/24 dev eth0"));
        ip(&format!("-n {boot} link set eth0 up"));
        network
    }

    /// Of QEMU, the BMC and the site's DHCP server.
    pub(crate) fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// Of bootd.
    pub(crate) fn boot(&self) -> String {
        format!("{}-boot", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [self.switch(), self.boot()] {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip runs");
    assert!(done.success(), "ip {arguments}");
}

/// A command in a namespace that dies with the thread that starts it.
pub(crate) fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "--",
        "ip",
        "netns",
        "exec",
        namespace,
        program,
    ]);
    command.stdin(Stdio::null());
    command
}

/// The site's DHCP server and the BMC, with the machine behind it; all files are in one directory.
pub(crate) struct Rack {
    dir: PathBuf,
    children: Vec<Child>,
}

impl Rack {
    pub(crate) fn start(dir: &Path, switch: &str) -> Self {
        let mut rack = Self {
            dir: dir.to_owned(),
            children: Vec::new(),
        };
        for (name, content) in [("power", "0\n"), ("serial.log", "")] {
            fs::write(rack.path(name), content).expect("the story's directory is writable");
        }
        fs::copy(FIRMWARE[1], rack.path("vars.fd")).expect("OVMF's variables can be copied");
        for disk in ["virtio.raw", "sata.raw"] {
            let path = rack.path(disk);
            File::create(&path)
                .and_then(|file| file.set_len(DISK_BYTES))
                .expect("a sparse disk");
            run(Command::new("mkfs.ext4")
                .args(["-q", "-F", "-L", "olddata"])
                .arg(&path));
        }
        rack.start_dhcp(switch);
        rack.own_machine(switch);
        rack.start_bmc(switch);
        rack
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn log(&self, name: &str) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .expect("a log can be opened")
    }

    /// Addresses only, and an IPv6 router for iPXE builds that wait for one.
    fn start_dhcp(&mut self, switch: &str) {
        let mut dnsmasq = inside(switch, "dnsmasq");
        dnsmasq.args([
            "-k",
            "-C",
            "/dev/null",
            "--port=0",
            "--user=root",
            "--interface=br0",
            "--bind-interfaces",
        ]);
        dnsmasq.args([
            "--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,1h",
            "--dhcp-authoritative",
            "--no-ping",
            "--log-dhcp",
        ]);
        dnsmasq.args(["--dhcp-range=fd77::,ra-only", "--enable-ra", "--pid-file="]);
        dnsmasq.arg(format!(
            "--dhcp-leasefile={}",
            self.path("leases").display()
        ));
        dnsmasq.arg(format!(
            "--log-facility={}",
            self.path("dhcp.log").display()
        ));
        self.children.push(dnsmasq.spawn().expect("dnsmasq starts"));
    }

    fn start_bmc(&mut self, switch: &str) {
        let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/qemu/chassis.sh");
        let dir = self.dir.display();
        let configuration = format!(
            "name \"rack\"\nset_working_mc 0x20\n  startlan 1\n    addr {BMC} 623\n    priv_limit admin\n    allowed_auths_callback md5\n    \
             allowed_auths_user md5\n    allowed_auths_operator md5\n    allowed_auths_admin md5\n    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{hook} {dir}\"\n  \
             user 1 false \"\" \"\" user 10 md5\n  user 2 true \"admin\" \"{PASSWORD}\" admin 10 md5\n"
        );
        let emulator = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 100 0x0a\n\
                        sensor_add 0x20 0 0 35 0x6f event-only\nmc_enable 0x20\n";
        fs::write(self.path("lan.conf"), configuration).expect("the story's directory is writable");
        fs::write(self.path("sim.emu"), emulator).expect("the story's directory is writable");
        fs::create_dir_all(self.path("state")).expect("the story's directory is writable");
        let mut simulator = inside(switch, "ipmi_sim");
        simulator
            .args(["-c", "lan.conf", "-f", "sim.emu", "-s", "state", "-n"])
            .current_dir(&self.dir);
        simulator
            .stdout(self.log("ipmi_sim.log"))
            .stderr(self.log("ipmi_sim.log"));
        self.children
            .push(simulator.spawn().expect("ipmi_sim starts"));
    }

    /// A thread that lives as long as this process, and with it the machine that it starts.
    fn own_machine(&self, switch: &str) {
        let pipe = self.path("orders");
        run(Command::new("mkfifo").arg(&pipe));
        let (send, orders) = channel();
        std::thread::spawn(move || {
            // Open for both directions, so that it does not end when a hook closes its side.
            let pipe = OpenOptions::new()
                .read(true)
                .write(true)
                .open(pipe)
                .expect("the pipe was just made");
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let owner = Owner {
            dir: self.dir.clone(),
            switch: switch.to_owned(),
            machine: None,
        };
        std::thread::spawn(move || owner.run(&orders));
    }

    /// An IPMI command of a foreign client.
    pub(crate) fn ipmi(&self, command: &str) -> String {
        let out = ipmitool(command).output().expect("ipmitool runs");
        assert!(
            out.status.success(),
            "ipmitool {command}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Whether the BMC is up.
    pub(crate) fn answers(&self) -> bool {
        ipmitool("chassis power status")
            .output()
            .is_ok_and(|out| out.status.success())
    }

    pub(crate) fn is_on(&self) -> bool {
        fs::read_to_string(self.path("power")).is_ok_and(|power| power.trim() == "1")
    }

    /// Everything the machine said on its serial port.
    pub(crate) fn serial(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("serial.log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ipmitool(command: &str) -> Command {
    let mut ipmitool = Command::new("ipmitool");
    // ipmi_sim knows no suite above 14; ours meet suite 17 elsewhere.
    ipmitool
        .args([
            "-I", "lanplus", "-C", "3", "-H", BMC, "-U", "admin", "-P", PASSWORD,
        ])
        .args(command.split(' '));
    ipmitool
}

fn run(command: &mut Command) {
    let done = command.status().expect("the tool was found before");
    assert!(done.success(), "{command:?}");
}

/// Holds the machine's power.
struct Owner {
    dir: PathBuf,
    switch: String,
    machine: Option<Child>,
}

impl Owner {
    fn run(mut self, orders: &Receiver<String>) {
        loop {
            match orders.recv_timeout(Duration::from_millis(100)) {
                Ok(order) if order == "on" && self.machine.is_none() => {
                    self.machine = Some(self.power_on())
                }
                Ok(order) if order == "off" => {
                    if let Some(mut machine) = self.machine.take() {
                        let _ = machine.kill();
                        let _ = machine.wait();
                    }
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(ended) = self
                .machine
                .as_mut()
                .and_then(|machine| machine.try_wait().ok().flatten())
            {
                self.machine = None;
                self.note(ended);
            }
            let power = if self.machine.is_some() { "1\n" } else { "0\n" };
            let part = self.dir.join("power.part");
            let _ =
                fs::write(&part, power).and_then(|()| fs::rename(&part, self.dir.join("power")));
        }
    }

    fn note(&self, ended: ExitStatus) {
        let _ = fs::write(self.dir.join("ended"), ended.to_string());
    }

    /// OVMF ignores `-boot order=`: the BMC's boot device becomes `bootindex`, once.
    fn power_on(&self) -> Child {
        let device = fs::read_to_string(self.dir.join("boot")).unwrap_or_default();
        let _ = fs::remove_file(self.dir.join("boot"));
        let network = if device.trim() == "pxe" { 0 } else { 9 };
        let mut qemu = inside(&self.switch, "qemu-system-x86_64");
        // `max` has RDRAND: without it, and without a single interrupt to learn from, the kernel has no random numbers for TLS.
        qemu.args([
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "512",
            "-display",
            "none",
            "-nodefaults",
            "-no-user-config",
        ]);
        qemu.args(["-uuid", UUID, "-smbios"]).arg(format!(
            "type=1,manufacturer=Acme,product=RackVM,serial={SERIAL}"
        ));
        qemu.arg("-serial")
            .arg(format!("file:{}", self.dir.join("serial.log").display()));
        qemu.arg("-drive").arg(format!(
            "if=pflash,format=raw,unit=0,readonly=on,file={}",
            FIRMWARE[0]
        ));
        qemu.arg("-drive").arg(format!(
            "if=pflash,format=raw,unit=1,file={}",
            self.dir.join("vars.fd").display()
        ));
        qemu.args([
            "-netdev",
            "tap,id=net,ifname=tap0,script=no,downscript=no",
            "-device",
        ]);
        // An empty romfile leaves network boot to the firmware's own stack.
        qemu.arg(format!(
            "virtio-net-pci,netdev=net,mac={MAC},romfile=,bootindex={network}"
        ));
        for (index, name, kind) in [
            (1, "virtio", "virtio-blk-pci"),
            (2, "sata", "ide-hd,bus=ide.0,wwn=0x5000c50015ea7100"),
        ] {
            // The default, discard=ignore, is the disk that lies: it says yes to a discard and changes nothing.
            qemu.arg("-drive").arg(format!(
                "if=none,id={name},format=raw,discard=ignore,file={}",
                self.dir.join(format!("{name}.raw")).display()
            ));
            qemu.arg("-device").arg(format!(
                "{kind},drive={name},serial={SERIAL}-{name},bootindex={index}"
            ));
        }
        let log = File::create(self.dir.join("qemu.log")).expect("a log can be made");
        qemu.stdout(Stdio::null()).stderr(log);
        qemu.spawn().expect("qemu starts")
    }
}
