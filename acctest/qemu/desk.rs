//! What the story says through bootd's sockets: this one machine gets the agent, and the agent gets the story's orders.
//!
//! Stands where bootd's store stands, behind the same trait; the sockets before it are bootd's own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bootd::net::{Asker, Desk, DeskError, Netboot, Note, Redeemed, Refusal};
use bootd_core::id::{Epoch, MachineId};
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use metal_proto::metal::v1::agent_order::What;
use metal_proto::metal::v1::{AgentOrder, AgentReport, AgentResult, AgentWait};
use tokio::sync::watch;

const TOKEN: &str = "qemu-story-t0ken-of-one-epoch";

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) reports: Vec<AgentReport>,
    pub(crate) results: Vec<AgentResult>,
    /// Evidence and notes, one line each.
    pub(crate) lines: Vec<String>,
    order: Option<AgentOrder>,
    token_of: Option<IpAddr>,
    /// Where the machine spoke from.
    seen_at: BTreeSet<IpAddr>,
}

pub(crate) struct StoryDesk {
    told: Mutex<Told>,
    changed: watch::Sender<u64>,
    mac: String,
}

impl StoryDesk {
    pub(crate) fn new(mac: &str) -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            changed: watch::channel(0).0,
            mac: mac.to_owned(),
        })
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told
            .lock()
            .expect("no thread panics while it holds this")
    }

    /// Gives the agent its next order.
    pub(crate) fn order(&self, number: u64, what: What) {
        self.told().order = Some(AgentOrder {
            number,
            what: Some(what),
        });
        self.changed.send_modify(|n| *n += 1);
    }

    /// Waits for something that was told; `None` when the time is up.
    pub(crate) async fn until<T>(
        &self,
        patience: Duration,
        look: impl Fn(&Told) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = look(&self.told()) {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    fn hear(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told());
        self.changed.send_modify(|n| *n += 1);
    }

    fn owner() -> Redeemed {
        Redeemed {
            machine: MachineId("r1-u1".to_owned()),
            epoch: Epoch(1),
        }
    }

    fn wait_after(&self, number: u64) -> AgentOrder {
        AgentOrder {
            number,
            what: Some(What::Wait(AgentWait { seconds_max: 60 })),
        }
    }
}

impl Desk for StoryDesk {
    async fn netboot(&self, asker: &Asker) -> Result<Netboot, DeskError> {
        let ours = asker.mac.is_some_and(|mac| mac.to_string() == self.mac);
        if !ours {
            return Ok(Netboot::Nothing("not the story's machine"));
        }
        self.told().seen_at.extend(asker.from);
        let Redeemed { machine, epoch } = Self::owner();
        Ok(Netboot::Agent {
            machine,
            epoch,
            args: vec!["console=ttyS0,115200".to_owned(), "panic=5".to_owned()],
        })
    }

    async fn machine_at(&self, from: IpAddr) -> Result<Option<Redeemed>, DeskError> {
        Ok(self.told().seen_at.contains(&from).then(Self::owner))
    }

    async fn fact(&self, _machine: &MachineId, _epoch: Epoch, fact: Fact) -> Result<(), DeskError> {
        self.hear(|told| told.lines.push(format!("{fact:?}")));
        Ok(())
    }

    async fn note(&self, _machine: &MachineId, note: Note) -> Result<(), DeskError> {
        self.hear(|told| told.lines.push(format!("{}: {}", note.source, note.text)));
        Ok(())
    }

    async fn mint(
        &self,
        _machine: &MachineId,
        _epoch: Epoch,
        from: IpAddr,
    ) -> Result<Result<String, Refusal>, DeskError> {
        let mut told = self.told();
        if *told.token_of.get_or_insert(from) != from {
            return Ok(Err(Refusal::SecondRequester));
        }
        Ok(Ok(TOKEN.to_owned()))
    }

    async fn redeem(
        &self,
        token: &str,
        _from: IpAddr,
    ) -> Result<Result<Redeemed, Refusal>, DeskError> {
        // The agent asks the DHCP server again and may hold another address than iPXE had.
        Ok(if token == TOKEN {
            Ok(Self::owner())
        } else {
            Err(Refusal::BadToken)
        })
    }

    async fn config(&self, _owner: &Redeemed) -> Result<Option<Vec<u8>>, DeskError> {
        Ok(None)
    }

    async fn agent_report(
        &self,
        _owner: &Redeemed,
        report: AgentReport,
        _from: IpAddr,
    ) -> Result<AgentOrder, DeskError> {
        let done = self.told().results.last().map_or(0, |result| result.order);
        self.hear(|told| told.reports.push(report));
        Ok(self.wait_after(done))
    }

    async fn agent_order(
        &self,
        _owner: &Redeemed,
        after: u64,
    ) -> Result<Option<AgentOrder>, DeskError> {
        Ok(self
            .told()
            .order
            .clone()
            .filter(|order| order.number > after))
    }

    async fn agent_result(
        &self,
        _owner: &Redeemed,
        result: AgentResult,
    ) -> Result<AgentOrder, DeskError> {
        let next = self.wait_after(result.order);
        self.hear(|told| told.results.push(result));
        Ok(next)
    }

    async fn talos_event(
        &self,
        _from: IpAddr,
        _id: &str,
        _line: &str,
        _fact: Option<TalosFact>,
    ) -> Result<(), DeskError> {
        Ok(())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
