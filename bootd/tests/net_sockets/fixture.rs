//! A desk that says what a test told it and writes down what it is told, and netboot started on free ports before it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bootd::images::{self, ImageCache};
use bootd::net::{
    AgentFiles, Asker, Bound, Desk, DeskError, DhcpListener, Netboot, Note, Redeemed, Refusal,
    Running, Settings,
};
use bootd_core::id::{Epoch, MachineId};
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentEnd, AgentOrder, AgentReport, AgentResult};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "s3cret-t0ken";
/// Where nothing listens.
pub(crate) const NO_FACTORY: &str = "http://127.0.0.1:9";
pub(crate) const MACHINE: &str = "r1-u1";
pub(crate) const EPOCH: Epoch = Epoch(7);

/// What the desk says.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) netboot: Netboot,
    pub(crate) mint: Result<(), Refusal>,
    pub(crate) redeem: Result<(), Refusal>,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) order: Option<AgentOrder>,
    pub(crate) machine_at: BTreeMap<IpAddr, Redeemed>,
    pub(crate) store: Store,
    /// How often an address was looked up.
    pub(crate) lookups: u32,
    /// Everything that the desk was told, in order.
    pub(crate) told: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Up,
    Down,
}

pub(crate) struct FakeDesk {
    script: Mutex<Script>,
    changed: watch::Sender<u64>,
    /// Grows with every line of `told`; apart from `changed`, which wakes what waits for the desk.
    heard: watch::Sender<u64>,
}

impl FakeDesk {
    pub(crate) fn new() -> Arc<Self> {
        let owner = Redeemed {
            machine: MachineId(MACHINE.into()),
            epoch: EPOCH,
        };
        Arc::new(Self {
            script: Mutex::new(Script {
                netboot: agent(),
                mint: Ok(()),
                redeem: Ok(()),
                config: None,
                order: None,
                machine_at: BTreeMap::from([(Ipv4Addr::LOCALHOST.into(), owner)]),
                store: Store::Up,
                lookups: 0,
                told: Vec::new(),
            }),
            changed: watch::channel(0).0,
            heard: watch::channel(0).0,
        })
    }

    /// Changes the script and wakes what waits.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
        self.changed.send_modify(|n| *n += 1);
    }

    /// Waits until the desk was told something that contains `part`.
    pub(crate) async fn told(&self, part: &str) -> String {
        let found = |script: &Script| script.told.iter().find(|t| t.contains(part)).cloned();
        match self.until(found).await {
            Some(found) => found,
            None => panic!("never told of {part:?}, only of {:#?}", self.all()),
        }
    }

    /// Waits until addresses were looked up this often.
    pub(crate) async fn looked_up(&self, times: u32) {
        let enough = |script: &Script| (script.lookups >= times).then_some(());
        assert!(self.until(enough).await.is_some(), "no {times} look-ups");
    }

    async fn until<T>(&self, look: impl Fn(&Script) -> Option<T>) -> Option<T> {
        let mut heard = self.heard.subscribe();
        let wait = async {
            loop {
                heard.borrow_and_update();
                if let Some(found) = look(&self.script()) {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .ok()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.script().told.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn hear(&self, what: String) -> Result<(), DeskError> {
        let is_up = self.script().store == Store::Up;
        let line = if is_up {
            what
        } else {
            "turned away".to_owned()
        };
        self.script().told.push(line);
        self.heard.send_modify(|n| *n += 1);
        if is_up { Ok(()) } else { Err(down()) }
    }
}

fn down() -> DeskError {
    DeskError("store is down".into())
}

pub(crate) fn agent() -> Netboot {
    Netboot::Agent {
        machine: MachineId(MACHINE.into()),
        epoch: EPOCH,
        args: vec!["console=ttyS0,115200".into()],
    }
}

pub(crate) fn local() -> Netboot {
    Netboot::Local {
        machine: MachineId(MACHINE.into()),
        epoch: EPOCH,
    }
}

pub(crate) fn talos(image: &str) -> Netboot {
    Netboot::Talos {
        machine: MachineId(MACHINE.into()),
        epoch: EPOCH,
        image: image.into(),
        nonce: "N0NCE".into(),
        args: vec![],
    }
}

impl Desk for FakeDesk {
    async fn netboot(&self, asker: &Asker) -> Result<Netboot, DeskError> {
        self.hear(format!("asked {asker:?}"))?;
        Ok(self.script().netboot.clone())
    }

    async fn machine_at(&self, from: IpAddr) -> Result<Option<Redeemed>, DeskError> {
        let mut script = self.script();
        script.lookups += 1;
        self.heard.send_modify(|n| *n += 1);
        match script.store {
            Store::Up => Ok(script.machine_at.get(&from).cloned()),
            Store::Down => Err(down()),
        }
    }

    async fn fact(&self, machine: &MachineId, epoch: Epoch, fact: Fact) -> Result<(), DeskError> {
        self.hear(format!("fact {machine}/{epoch} {fact:?}"))
    }

    async fn note(&self, machine: &MachineId, note: Note) -> Result<(), DeskError> {
        let alarm = if note.alarm { " ALARM" } else { "" };
        self.hear(format!(
            "note {machine} {}{alarm}: {}",
            note.source, note.text
        ))
    }

    async fn mint(
        &self,
        _machine: &MachineId,
        _epoch: Epoch,
        _from: IpAddr,
    ) -> Result<Result<String, Refusal>, DeskError> {
        Ok(self.script().mint.map(|()| TOKEN.to_owned()))
    }

    async fn redeem(
        &self,
        token: &str,
        from: IpAddr,
    ) -> Result<Result<Redeemed, Refusal>, DeskError> {
        let script = self.script();
        if script.store == Store::Down {
            return Err(down());
        }
        let owner = script.machine_at.get(&from).cloned();
        Ok(match (script.redeem, owner) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), Some(owner)) if token == TOKEN => Ok(owner),
            (Ok(()), _) => Err(Refusal::BadToken),
        })
    }

    async fn config(&self, _owner: &Redeemed) -> Result<Option<Vec<u8>>, DeskError> {
        self.hear("looked for the config".to_owned())?;
        Ok(self.script().config.clone())
    }

    async fn agent_report(
        &self,
        owner: &Redeemed,
        report: AgentReport,
        from: IpAddr,
    ) -> Result<AgentOrder, DeskError> {
        self.hear(format!(
            "report of {} from {from}: {}",
            owner.machine, report.mac
        ))?;
        Ok(power_off(1))
    }

    async fn agent_order(
        &self,
        _owner: &Redeemed,
        after: u64,
    ) -> Result<Option<AgentOrder>, DeskError> {
        self.hear(format!("looked for an order after {after}"))?;
        Ok(self
            .script()
            .order
            .clone()
            .filter(|order| order.number > after))
    }

    async fn agent_result(
        &self,
        owner: &Redeemed,
        result: AgentResult,
    ) -> Result<AgentOrder, DeskError> {
        self.hear(format!(
            "result of {} for order {}",
            owner.machine, result.order
        ))?;
        Ok(power_off(result.order + 1))
    }

    async fn talos_event(
        &self,
        from: IpAddr,
        id: &str,
        line: &str,
        fact: Option<TalosFact>,
    ) -> Result<(), DeskError> {
        self.hear(format!("event {from} {id} {line} => {fact:?}"))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

pub(crate) fn power_off(number: u64) -> AgentOrder {
    AgentOrder {
        number,
        what: Some(What::PowerOff(AgentEnd {})),
    }
}

/// The agent's kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    /// So many zeros.
    Zeros(u64),
    /// A program that a firmware can start.
    CopyOf(&'static str),
}

/// Netboot on free ports, with files of its own.
pub(crate) struct Site {
    pub(crate) desk: Arc<FakeDesk>,
    pub(crate) bound: Bound,
    pub(crate) images: Arc<ImageCache>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca_pem: String,
    running: Option<Running>,
    stop: CancellationToken,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with_factory(NO_FACTORY).await
    }

    pub(crate) async fn with_factory(factory: &str) -> Self {
        Self::with(factory, Kernel::Zeros(1_000_000), Ipv4Addr::LOCALHOST).await
    }

    /// `advertise` is what stands in URLs.
    pub(crate) async fn with(factory: &str, kernel: Kernel, advertise: Ipv4Addr) -> Self {
        let network = DhcpListener {
            proxy: free(),
            boot_server: free(),
            overhear: Some(free()),
            interface: None,
        };
        Self::on(factory, kernel, advertise, vec![network], vec![]).await
    }

    /// On these boot networks; `empty_ra` names interfaces.
    pub(crate) async fn on(
        factory: &str,
        kernel: Kernel,
        advertise: Ipv4Addr,
        dhcp: Vec<DhcpListener>,
        empty_ra: Vec<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("assets")).unwrap();
        std::fs::write(at("assets/undionly.kpxe"), vec![0xb1; 70_000]).unwrap();
        std::fs::write(at("assets/snponly.efi"), vec![0x5a; 174_001]).unwrap();
        std::fs::write(at("assets/tiny"), b"tiny").unwrap();
        match kernel {
            Kernel::Zeros(bytes) => std::fs::File::create(at("kernel"))
                .and_then(|kernel| kernel.set_len(bytes))
                .unwrap(),
            Kernel::CopyOf(path) => drop(std::fs::copy(path, at("kernel")).unwrap()),
        }
        std::fs::write(at("agent.cpio"), vec![0xbb; 500_001]).unwrap();
        std::fs::write(at("modules.cpio"), vec![0xcc; 4_002]).unwrap();
        let images = Arc::new(ImageCache::new(image_settings(&dir, factory)).unwrap());
        let (tls, ca_pem) = certificates();
        let desk = FakeDesk::new();
        let stop = CancellationToken::new();
        let settings = Settings {
            advertise,
            dhcp,
            empty_ra,
            tftp: Some(free()),
            http: free(),
            https: free(),
            events: free(),
            kernel_log: free(),
            assets: at("assets"),
            cache: at("assembled"),
            agent: Some(AgentFiles {
                kernel: at("kernel"),
                initrd: at("agent.cpio"),
                modules: Some(at("modules.cpio")),
                args: vec!["quiet".into()],
            }),
            boot_files: BTreeMap::new(),
            long_poll: Duration::from_secs(60),
        };
        let running = bootd::net::start(
            settings,
            Arc::clone(&desk),
            Arc::clone(&images),
            tls,
            ca_pem.clone(),
            stop.clone(),
        )
        .await
        .unwrap();
        Self {
            desk,
            bound: running.bound.clone(),
            images,
            dir,
            ca_pem,
            running: Some(running),
            stop,
        }
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.bound.http)
    }

    pub(crate) fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.bound.https)
    }

    /// A client that trusts our CA and nothing else.
    pub(crate) fn client(&self) -> reqwest::Client {
        reqwest::Client::builder()
            .no_proxy()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap())
            .build()
            .unwrap()
    }

    /// Stops and waits for every loop.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(Duration::from_secs(30), running.join())
            .await
            .expect("every loop ends")
            .unwrap();
    }
}

pub(crate) fn free() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn image_settings(dir: &tempfile::TempDir, factory: &str) -> images::Settings {
    images::Settings {
        dir: dir.path().join("images"),
        factory: factory.to_owned(),
        egress: vec!["127.0.0.0/8".parse().unwrap()],
        bytes_max: 10_000_000,
        idle: Duration::from_secs(10),
    }
}

fn certificates() -> (Arc<rustls::ServerConfig>, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), ca_pem)
}
