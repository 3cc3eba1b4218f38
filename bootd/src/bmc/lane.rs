//! One task per BMC: takes jobs in order, one command in flight, holds the session between them.
//!
//! Decides when to open, reopen and close, which cipher suite to ask for, and what a link's failure means to a person.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootd_core::bmc::{BadLogin, CipherZero, Failure, Heard, Login, Patience, Suite};
use bootd_core::wire::ipmi::{
    self, BootDevice, ChannelHint, Command, Firmware, PowerState, Repeat, SystemGuid,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::error::{BmcError, LastAnswer, Refusal};
use super::link::{Answered, Clock, Link, LinkError, probe_cipher_zero};
use super::{BootReadBack, PowerOutcome, Settings, Target};
use crate::egress::Egress;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, BmcError>>;

/// One verb for one BMC.
pub(super) struct Job {
    pub(super) target: Target,
    pub(super) verb: Verb,
}

pub(super) enum Verb {
    Power(Reply<PowerState>),
    Switch(PowerState, Reply<PowerOutcome>),
    Soft(Reply<PowerOutcome>),
    Cycle(Reply<PowerOutcome>),
    Boot(BootDevice, Firmware, Reply<BootReadBack>),
    Guid(Reply<SystemGuid>),
    DeviceId(Reply<ipmi::DeviceId>),
    CipherZero(Reply<CipherZero>),
}

impl Verb {
    /// True if nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Power(reply) => reply.is_closed(),
            Self::Switch(_, reply) | Self::Soft(reply) | Self::Cycle(reply) => reply.is_closed(),
            Self::Boot(_, _, reply) => reply.is_closed(),
            Self::Guid(reply) => reply.is_closed(),
            Self::DeviceId(reply) => reply.is_closed(),
            Self::CipherZero(reply) => reply.is_closed(),
        }
    }
}

/// Address and port: what a lane and the suite memory are kept by.
pub(super) type Key = (String, u16);

/// Which suite each BMC is known to speak. Suite 17 is never given up once it has worked, so that no forged refusal can talk us
/// down to suite 3.
#[derive(Debug, Default)]
pub(super) struct SuiteMemory(Mutex<BTreeMap<Key, Suite>>);

impl SuiteMemory {
    pub(super) fn known(&self, key: &Key) -> Option<Suite> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).copied()
    }

    pub(super) fn learn(&self, key: &Key, suite: Suite) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let best = known.entry(key.clone()).or_insert(suite);
        *best = suite.max(*best);
    }

    /// What to try, in order. Going up from 3 to 17 is always allowed.
    fn order(&self, key: &Key) -> &'static [Suite] {
        match self.known(key) {
            Some(Suite::Seventeen) => &[Suite::Seventeen],
            Some(Suite::Three) => &[Suite::Three, Suite::Seventeen],
            None => &[Suite::Seventeen, Suite::Three],
        }
    }
}

/// Ends a lane that has been idle, unless a job came in the meantime.
pub(super) trait Retire: Send {
    /// True if the lane is gone from the fleet and must end.
    fn retire(&self, jobs: &mpsc::Receiver<Job>) -> bool;
}

pub(super) struct Lane {
    settings: Arc<Settings>,
    suites: Arc<SuiteMemory>,
    clock: Clock,
    key: Key,
    /// The open session, and for whom it was opened.
    open: Option<(Link, Target)>,
    heard: Option<Heard>,
    commanded: Option<Instant>,
}

impl Lane {
    pub(super) const fn new(
        settings: Arc<Settings>,
        suites: Arc<SuiteMemory>,
        clock: Clock,
        key: Key,
    ) -> Self {
        Self {
            settings,
            suites,
            clock,
            key,
            open: None,
            heard: None,
            commanded: None,
        }
    }

    /// Works until the fleet is gone or the lane was idle for long.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, fleet: impl Retire) {
        loop {
            match tokio::time::timeout(self.settings.hold_max, jobs.recv()).await {
                Ok(Some(job)) if job.verb.is_abandoned() => {}
                Ok(Some(job)) => self.work(job).await,
                Ok(None) => break,
                Err(_idle) => {
                    self.hang_up().await;
                    if fleet.retire(&jobs) {
                        break;
                    }
                }
            }
        }
        self.hang_up().await;
    }

    async fn work(&mut self, job: Job) {
        let Job { target, verb } = job;
        if self
            .open
            .as_ref()
            .is_some_and(|(_, whose)| *whose != target)
        {
            self.hang_up().await;
        }
        // A failed send means that the caller went away; the work is done all the same.
        match verb {
            Verb::Power(reply) => drop(reply.send(self.power(&target).await)),
            Verb::Switch(wanted, reply) => {
                drop(reply.send(self.switch(&target, wanted).await));
            }
            Verb::Soft(reply) => drop(reply.send(self.soft(&target).await)),
            Verb::Cycle(reply) => drop(reply.send(self.cycle(&target).await)),
            Verb::Boot(device, firmware, reply) => {
                drop(reply.send(self.boot(&target, device, firmware).await));
            }
            Verb::Guid(reply) => drop(reply.send(self.guid(&target).await)),
            Verb::DeviceId(reply) => drop(reply.send(self.device_id(&target).await)),
            Verb::CipherZero(reply) => drop(reply.send(self.cipher_zero(&target).await)),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a command; any completion code but zero is an error.
    pub(super) async fn command(
        &mut self,
        target: &Target,
        command: Command,
    ) -> Result<Vec<u8>, BmcError> {
        let (code, data) = self.exchange(target, command).await?;
        if code == 0 {
            return Ok(data);
        }
        Err(BmcError::Completion {
            bmc: target.to_string(),
            command: command.name(),
            code,
            what: ipmi::completion_text(command, code),
        })
    }

    /// Sends a command, again after a pause while the BMC says that it is busy.
    async fn exchange(&mut self, target: &Target, command: Command) -> Result<Answered, BmcError> {
        const BUSY: u8 = 0xc0;
        const BUSY_PAUSES: [Duration; 3] = [
            Duration::from_millis(200),
            Duration::from_millis(500),
            Duration::from_millis(1000),
        ];
        for pause in BUSY_PAUSES {
            let answered = self.exchange_once(target, command).await?;
            if answered.0 != BUSY {
                return Ok(answered);
            }
            tokio::time::sleep(pause).await;
        }
        self.exchange_once(target, command).await
    }

    /// Sends a command in the held session, or in a new one if that one turns out to be dead.
    async fn exchange_once(
        &mut self,
        target: &Target,
        command: Command,
    ) -> Result<Answered, BmcError> {
        if let Some(held) = self.open.take() {
            let idle = self.commanded.is_none_or(|at| at.elapsed() > IDLE_MIN);
            let patience = if idle {
                Patience::Short
            } else {
                Patience::Full
            };
            match self.ask(held, command, patience).await {
                Ok(answered) => return Ok(answered),
                Err((error, waited)) => {
                    if command.repeat() == Repeat::Never {
                        return Err(self.explain(target, error, waited));
                    }
                }
            }
        }
        let link = self.dial(target).await?;
        self.ask((link, target.clone()), command, Patience::Full)
            .await
            .map_err(|(error, waited)| self.explain(target, error, waited))
    }

    async fn ask(
        &mut self,
        mut open: (Link, Target),
        command: Command,
        patience: Patience,
    ) -> Result<Answered, (LinkError, Duration)> {
        if let Some(at) = self.commanded {
            tokio::time::sleep_until(at + self.settings.interval_min).await;
        }
        let start = Instant::now();
        let answered = open.0.ask(command, patience).await;
        self.commanded = Some(Instant::now());
        self.heard = newer(self.heard, open.0.heard());
        match answered {
            Ok(answered) => {
                self.open = Some(open);
                Ok(answered)
            }
            Err(error) => Err((error, start.elapsed())),
        }
    }

    /// Opens a session with the best suite that this BMC may be asked for.
    async fn dial(&mut self, target: &Target) -> Result<Link, BmcError> {
        let unreachable = |error| BmcError::Unreachable {
            bmc: target.to_string(),
            source: Arc::new(error),
        };
        let address = resolve(target, self.settings.egress.as_ref())
            .await
            .map_err(unreachable)?;
        let mut tried = Vec::new();
        for suite in self.suites.order(&self.key) {
            let login = login(target, self.settings.privilege, *suite)?;
            let timing = self.settings.timing.clone();
            let mut link = Link::connect(address, login, timing, self.clock)
                .await
                .map_err(unreachable)?;
            let start = Instant::now();
            let opened = link.open().await;
            self.heard = newer(self.heard, link.heard());
            match opened {
                Ok(()) => {
                    tracing::debug!(bmc = %target, %suite, "BMC session open");
                    self.suites.learn(&self.key, *suite);
                    return Ok(link);
                }
                Err(LinkError::Failed(Failure::SuiteNotOffered)) => tried.push(*suite),
                Err(LinkError::Failed(Failure::Silent { .. }))
                    if link.hint() == Some(ChannelHint::Only15) =>
                {
                    return Err(BmcError::NoIpmi20 {
                        bmc: target.to_string(),
                    });
                }
                Err(error) => return Err(self.explain(target, error, start.elapsed())),
            }
        }
        Err(BmcError::SuiteNotOffered {
            bmc: target.to_string(),
            tried,
        })
    }

    async fn cipher_zero(&mut self, target: &Target) -> Result<CipherZero, BmcError> {
        let start = Instant::now();
        let asked = match resolve(target, self.settings.egress.as_ref()).await {
            Ok(address) => probe_cipher_zero(address, &self.settings.timing).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                let asked = "Open Session";
                let silent = LinkError::Failed(Failure::Silent { asked });
                Err(self.explain(target, silent, start.elapsed()))
            }
            Err(error) => Err(self.explain(target, LinkError::Io(error), start.elapsed())),
        }
    }

    async fn hang_up(&mut self) {
        if let Some((link, _)) = self.open.take() {
            link.close().await;
        }
    }

    fn explain(&self, target: &Target, error: LinkError, waited: Duration) -> BmcError {
        let bmc = target.to_string();
        let failure = match error {
            LinkError::Io(error) => {
                return BmcError::Unreachable {
                    bmc,
                    source: Arc::new(error),
                };
            }
            LinkError::Lost { asked } => Failure::Silent { asked },
            LinkError::Failed(failure) => failure,
        };
        let refused = |why| BmcError::Refused {
            bmc: bmc.clone(),
            user: target.username.clone(),
            why,
        };
        match failure {
            Failure::WrongPassword => refused(Refusal::WrongPassword),
            Failure::UnknownUser => refused(Refusal::UnknownUser),
            Failure::Privilege => refused(Refusal::Privilege),
            Failure::Status { status, .. } => refused(Refusal::Other { status }),
            Failure::NoSlot => BmcError::NoSlot { bmc },
            Failure::SuiteNotOffered => BmcError::SuiteNotOffered {
                bmc,
                tried: Vec::new(),
            },
            Failure::OtherAlgorithms => BmcError::Protocol {
                bmc,
                asked: "Open Session",
                what: "it chose other algorithms than were proposed",
            },
            Failure::KeyMismatch => BmcError::Protocol {
                bmc,
                asked: "RAKP 3",
                what: "the password is right, but its session key is another one (a BMC key K_G is set?)",
            },
            Failure::Silent { asked } => BmcError::Silent {
                bmc,
                asked,
                waited: Duration::from_millis(
                    u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                ),
                last_answer: self.last_answer(),
            },
        }
    }

    fn last_answer(&self) -> LastAnswer {
        self.heard
            .map_or(LastAnswer::Never, |heard| LastAnswer::Heard {
                what: heard.what,
                ago: self.clock.now().since(heard.at),
            })
    }
}

/// A session that was not used for so long may have been dropped by the BMC.
const IDLE_MIN: Duration = Duration::from_secs(5);

fn newer(a: Option<Heard>, b: Option<Heard>) -> Option<Heard> {
    b.or(a)
}

fn login(
    target: &Target,
    privilege: bootd_core::bmc::Privilege,
    suite: Suite,
) -> Result<Login, BmcError> {
    Login::new(
        target.username.clone(),
        target.password.clone(),
        privilege,
        suite,
    )
    .map_err(|bad| BmcError::Credentials {
        bmc: target.to_string(),
        what: match bad {
            BadLogin::Username { .. } => "the user name has more than 16 bytes",
            BadLogin::Password => "the password has more than 20 bytes",
        },
    })
}

async fn resolve(target: &Target, egress: Option<&Egress>) -> std::io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host((target.address.as_str(), target.port)).await?;
    let address = found
        .next()
        .ok_or_else(|| std::io::Error::other("the name has no address"))?;
    if egress.is_some_and(|e| !e.allows_own(address.ip())) {
        return Err(std::io::Error::other(
            "no BMC is dialled there: loopback and link-local addresses need an entry in [egress] allow",
        ));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bmc_is_not_looked_for_on_bootds_own_host() {
        let target = |address: &str| Target {
            address: address.to_owned(),
            port: 623,
            username: String::new(),
            password: String::new().into(),
        };
        let bounds = Egress::from(vec![]);
        for own in ["127.0.0.1", "localhost", "169.254.169.254", "::1"] {
            let refused = resolve(&target(own), Some(&bounds)).await.unwrap_err();
            assert!(refused.to_string().contains("[egress] allow"), "{own}");
        }
        let free = resolve(&target("10.0.8.1"), Some(&bounds)).await.unwrap();
        assert_eq!(free.to_string(), "10.0.8.1:623");
        let allowed = Egress::from(vec!["127.0.0.0/8".parse().unwrap()]);
        resolve(&target("127.0.1.1"), Some(&allowed)).await.unwrap();
    }
}
