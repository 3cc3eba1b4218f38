//! The desk over the store: what the sockets may ask and tell.

use std::net::IpAddr;

use bootd_core::id::{Epoch, MachineId, Timestamp};
use bootd_core::lifecycle::facts::{Fact, TalosFact};
use bootd_core::lifecycle::{
    Boot, ConfigState, Control, Idle, Machine, Outcome, Phase, Report, boot, stage,
};
use metal_proto::metal::v1::{AgentOrder, AgentReport, AgentResult, NodeConfig};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection};

use super::hardware::hardware_from_proto;
use super::machines::{self, Identity, Journal, Record};
use super::orders::{order_to_proto, reboot_order, take_result, wait_order};
use super::timeline::{self, NewLine};
use super::{Kind, Result, Store, StoreError, now, sql, unsql};
use crate::net::{Asker, Desk, DeskError, Netboot, Note, Redeemed, Refusal};

/// How long a config may be fetched again by who fetched it.
const REFETCH: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// Ids of pushed events kept per machine.
const EVENTS_MAX: i64 = 2000;

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        Self(Box::new(error))
    }
}

impl Desk for Store {
    async fn netboot(&self, asker: &Asker) -> Result<Netboot, DeskError> {
        let identity = Identity {
            mac: asker.mac,
            uuid: asker.uuid.clone(),
            serial: asker.serial.clone(),
        };
        let id = match self.find(&identity).await? {
            Some(id) => id,
            None if self.registration().admits(now()) && asker.mac.is_some() => {
                self.register(identity).await?
            }
            None => return Ok(Netboot::Nothing("unknown machine")),
        };
        let Some(record) = self.machine(&id).await? else {
            return Ok(Netboot::Nothing("unknown machine"));
        };
        if let Some(from) = asker.from {
            self.remember_address(&id, from).await?;
        }
        Ok(self.answer(record).await?)
    }

    async fn machine_at(&self, from: IpAddr) -> Result<Option<Redeemed>, DeskError> {
        Ok(self.at(from).await?)
    }

    async fn fact(&self, machine: &MachineId, epoch: Epoch, fact: Fact) -> Result<(), DeskError> {
        self.change(machine, |record, journal| {
            if record.machine.epoch == epoch {
                if let Fact::DhcpOffered { arch } = fact {
                    record.arch = Some(arch);
                }
                journal.fact(fact);
            }
        })
        .await?;
        Ok(())
    }

    async fn note(&self, machine: &MachineId, note: Note) -> Result<(), DeskError> {
        self.change(machine, |_, journal| {
            journal.lines.push(NewLine {
                source: note.source,
                text: note.text,
                alarm: note.alarm,
            });
        })
        .await?;
        Ok(())
    }

    async fn mint(
        &self,
        machine: &MachineId,
        epoch: Epoch,
        from: IpAddr,
    ) -> Result<Result<String, Refusal>, DeskError> {
        Ok(self.mint_token(machine, epoch, from).await?)
    }

    async fn redeem(
        &self,
        token: &str,
        from: IpAddr,
    ) -> Result<Result<Redeemed, Refusal>, DeskError> {
        Ok(self.redeem_token(token, from).await?)
    }

    async fn config(&self, owner: &Redeemed) -> Result<Option<Vec<u8>>, DeskError> {
        let Some(record) = self.machine(&owner.machine).await? else {
            return Ok(None);
        };
        let m = &record.machine;
        let ready = matches!(m.phase, Phase::Installing(_))
            && m.epoch == owner.epoch
            && m.talos_since().is_some()
            && m.claim
                .as_ref()
                .is_some_and(|c| c.config == ConfigState::Ready);
        if !ready {
            return Ok(None);
        }
        let node = self.doc_of_machine(Kind::Node, &owner.machine).await?;
        Ok(node.and_then(|n| n.sealed).map(|s| s.expose().clone()))
    }

    async fn agent_report(
        &self,
        owner: &Redeemed,
        report: AgentReport,
        from: IpAddr,
    ) -> Result<AgentOrder, DeskError> {
        let order = self
            .change(&owner.machine, |record, journal| {
                take_report(record, journal, owner.epoch, report, from);
                present_order(&record.machine, owner.epoch, 0)
            })
            .await?;
        Ok(order.flatten().unwrap_or_else(|| wait_order(0)))
    }

    async fn agent_order(
        &self,
        owner: &Redeemed,
        after: u64,
    ) -> Result<Option<AgentOrder>, DeskError> {
        let record = self.machine(&owner.machine).await?;
        Ok(record.and_then(|r| present_order(&r.machine, owner.epoch, after)))
    }

    async fn agent_result(
        &self,
        owner: &Redeemed,
        result: AgentResult,
    ) -> Result<AgentOrder, DeskError> {
        let order = self
            .change(&owner.machine, |record, journal| {
                if record.machine.epoch == owner.epoch {
                    take_result(record, journal, &result);
                }
                present_order(&record.machine, owner.epoch, result.order)
            })
            .await?;
        Ok(order.flatten().unwrap_or_else(|| wait_order(result.order)))
    }

    async fn talos_event(
        &self,
        from: IpAddr,
        id: &str,
        line: &str,
        fact: Option<TalosFact>,
    ) -> Result<(), DeskError> {
        let Some(owner) = self.at(from).await? else {
            return Ok(());
        };
        self.write(async |db| -> Result<()> {
            if seen_before(db, &owner.machine, id).await? {
                return Ok(());
            }
            machines::change(db, &owner.machine, |_, journal| {
                if !line.is_empty() {
                    journal.line("talos", line);
                }
                if let Some(fact) = fact {
                    journal.fact(Fact::Talos(fact));
                }
            })
            .await?;
            Ok(())
        })
        .await?;
        self.waker(&owner.machine).notify_one();
        Ok(())
    }

    fn changed(&self) -> tokio::sync::watch::Receiver<u64> {
        Store::changed(self)
    }
}

impl Store {
    async fn answer(&self, record: Record) -> Result<Netboot> {
        let m = &record.machine;
        let (machine, epoch) = (m.id.clone(), m.epoch);
        Ok(match boot(m) {
            Boot::Nothing => Netboot::Nothing("nothing may boot on it now"),
            Boot::Local => Netboot::Local { machine, epoch },
            Boot::Agent(_) => Netboot::Agent {
                machine,
                epoch,
                args: record.boot_args,
            },
            Boot::Talos(_) => {
                let Some(node) = self.doc_of_machine(Kind::Node, &machine).await? else {
                    return Ok(Netboot::Nothing("no node is bound to it"));
                };
                let config = NodeConfig::decode(node.config.as_slice())
                    .map_err(|_| StoreError::Damaged("docs"))?;
                let nonce = self
                    .seal()
                    .derive("nonce", &[&machine.0, &epoch.to_string()]);
                Netboot::Talos {
                    machine,
                    epoch,
                    image: config.image_id,
                    nonce: nonce.chars().take(32).collect(),
                    args: record.boot_args,
                }
            }
        })
    }

    async fn register(&self, identity: Identity) -> Result<MachineId> {
        let id = self
            .write(async |db| {
                if let Some(id) = machines::find(db, &identity).await? {
                    return Ok(id);
                }
                let mac = identity.mac.map(|m| m.to_string()).unwrap_or_default();
                let id = MachineId(format!("m-{}", mac.replace(':', "")));
                let record = Record::new(id.clone(), identity, now());
                let line = NewLine::new("dhcp", "unknown machine seen, registered");
                timeline::append(db, &id, record.machine.epoch, now(), &line).await?;
                machines::save(db, &record).await?;
                Ok(id)
            })
            .await?;
        self.repopulate();
        Ok(id)
    }

    async fn at(&self, from: IpAddr) -> Result<Option<Redeemed>> {
        let row = sqlx::query("SELECT machine FROM addresses WHERE address = ?")
            .bind(from.to_string())
            .fetch_optional(&self.inner.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let machine = MachineId(row.get(0));
        Ok(self.machine(&machine).await?.map(|r| Redeemed {
            machine,
            epoch: r.machine.epoch,
        }))
    }

    async fn remember_address(&self, machine: &MachineId, from: IpAddr) -> Result<()> {
        let row = sqlx::query("SELECT machine FROM addresses WHERE address = ?")
            .bind(from.to_string())
            .fetch_optional(&self.inner.pool)
            .await?;
        if row.is_some_and(|r| r.get::<&str, _>(0) == machine.0) {
            return Ok(());
        }
        self.write(async |db| {
            store_address(db, machine, from).await?;
            machines::change(db, machine, |record, _| record.address = Some(from)).await?;
            Ok(())
        })
        .await
    }

    async fn mint_token(
        &self,
        machine: &MachineId,
        epoch: Epoch,
        from: IpAddr,
    ) -> Result<Result<String, Refusal>> {
        let minted = self.write(async |db| {
            let Some(mut record) = machines::load(db, machine).await? else {
                return Ok(Err(Refusal::NoWindow));
            };
            let m = &record.machine;
            let opened = match window(m).filter(|_| m.epoch == epoch) {
                Some(opened) => opened,
                None => return Ok(Err(Refusal::NoWindow)),
            };
            let asked = m
                .facts_since(opened)
                .any(|s| matches!(s.fact, Fact::DhcpOffered { .. } | Fact::IpxeOffered));
            if !asked {
                return Ok(Err(Refusal::NoDhcp));
            }
            let boot = m.tries.len();
            let holder = sqlx::query(
                "SELECT source FROM tokens WHERE machine = ? AND epoch = ? AND boot = ?",
            )
            .bind(&machine.0)
            .bind(sql(epoch.0))
            .bind(sql(boot as u64))
            .fetch_optional(&mut *db)
            .await?
            .and_then(|row| row.get::<&str, _>(0).parse::<IpAddr>().ok());
            let token = self.seal().derive(
                "token",
                &[
                    &machine.0,
                    &epoch.to_string(),
                    &boot.to_string(),
                    &from.to_string(),
                ],
            );
            match holder {
                Some(holder) if holder == from => Ok(Ok(token)),
                Some(holder) => {
                    machines::change(db, machine, |_, journal| {
                        journal.fact(Fact::SecondRequester { from, holder });
                    })
                    .await?;
                    Ok(Err(Refusal::SecondRequester))
                }
                None => {
                    sqlx::query(
                        "INSERT INTO tokens (hash, machine, epoch, boot, source, at) VALUES (?, ?, ?, ?, ?, ?)",
                    )
                    .bind(hash(&token))
                    .bind(&machine.0)
                    .bind(sql(epoch.0))
                    .bind(sql(boot as u64))
                    .bind(from.to_string())
                    .bind(sql(now().0))
                    .execute(&mut *db)
                    .await?;
                    record.address = Some(from);
                    machines::save(db, &record).await?;
                    store_address(db, machine, from).await?;
                    Ok(Ok(token))
                }
            }
        })
        .await?;
        if minted.is_err() {
            self.waker(machine).notify_one();
        }
        Ok(minted)
    }

    async fn redeem_token(&self, token: &str, from: IpAddr) -> Result<Result<Redeemed, Refusal>> {
        let row = sqlx::query("SELECT seq, machine, epoch, source FROM tokens WHERE hash = ?")
            .bind(hash(token))
            .fetch_optional(&self.inner.pool)
            .await?;
        let Some(row) = row else {
            if let Some(owner) = self.at(from).await? {
                self.refused(&owner.machine, from, Refusal::BadToken)
                    .await?;
            }
            return Ok(Err(Refusal::BadToken));
        };
        let (seq, machine): (i64, _) = (row.get(0), MachineId(row.get(1)));
        let epoch = Epoch(unsql(row.get(2)));
        let newest: i64 = sqlx::query("SELECT max(seq) FROM tokens WHERE machine = ?")
            .bind(&machine.0)
            .fetch_one(&self.inner.pool)
            .await?
            .get(0);
        let record = self.machine(&machine).await?;
        let live = record
            .as_ref()
            .is_some_and(|r| seq == newest && token_lives(&r.machine, epoch, now()));
        let own = row.get::<&str, _>(3) == from.to_string();
        let refusal = match (live, own) {
            (true, true) => return Ok(Ok(Redeemed { machine, epoch })),
            (true, false) => Refusal::WrongSource,
            (false, true) if record.is_some_and(|r| ended_in_order(&r.machine, epoch)) => {
                self.change(&machine, |_, journal| {
                    journal.line("http", format!("{from} was told that its boot is over"));
                })
                .await?;
                return Ok(Err(Refusal::Ended));
            }
            (false, true | false) => Refusal::BadToken,
        };
        self.refused(&machine, from, refusal).await?;
        Ok(Err(refusal))
    }

    async fn refused(&self, machine: &MachineId, from: IpAddr, refusal: Refusal) -> Result<()> {
        let why = refusal.to_string();
        self.change(machine, |_, journal| {
            journal.fact(Fact::TokenRefused { from, why });
        })
        .await?;
        Ok(())
    }
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Since when a token may be minted for this machine's present boot: since bootd caused a power-on in this epoch, or since it
/// began to wait for a person's button. Machines that are only looked at open their own window: their token can only report.
fn window(m: &Machine) -> Option<Timestamp> {
    if let Some(last) = m.tries.last() {
        let never = matches!(
            last.outcome,
            Some(Outcome::Refused(_) | Outcome::OtherBox(_))
        );
        return (!never).then_some(last.at);
    }
    match (&m.phase, m.control) {
        (Phase::Discovered | Phase::Failed(_), Control::Bmc | Control::Manual)
        | (Phase::Available, Control::Manual | Control::Bmc) => Some(m.since),
        (Phase::Inspecting | Phase::Installing(_) | Phase::Wiping, Control::Manual) => {
            Some(m.since)
        }
        (Phase::Inspecting | Phase::Installing(_) | Phase::Wiping, Control::Bmc)
        | (Phase::Running(_) | Phase::Quarantined(_) | Phase::Retired, _) => None,
    }
}

/// The newest token of a machine is good in its epoch, until the install shows progress or a while after the config left; an
/// agent that waits on a machine without BMC keeps its token so that it can be told to boot again, and one that a resting machine
/// is held in keeps it as long as the rest.
fn token_lives(m: &Machine, epoch: Epoch, now: Timestamp) -> bool {
    if matches!(
        m.phase,
        Phase::Running(_) | Phase::Retired | Phase::Quarantined(_)
    ) {
        return false;
    }
    if m.epoch != epoch {
        let rests_in_agent = m.phase == Phase::Available && m.idle == Idle::Hold;
        return m.control == Control::Manual || rests_in_agent;
    }
    let Some(from) = m.talos_since() else {
        return true;
    };
    let served = m
        .facts_since(from)
        .find(|s| matches!(s.fact, Fact::ConfigServed { .. }));
    let installs = m.facts_since(from).any(|s| {
        matches!(
            s.fact,
            Fact::Talos(TalosFact::InstallStarted | TalosFact::InstallFinished)
        )
    });
    served.is_none_or(|s| now.since(s.at) < REFETCH && !installs)
}

/// Is the epoch over because the next one began, and not because two addresses wanted its token? Then whoever held its token and
/// shows it once more only has not heard of that yet.
fn ended_in_order(m: &Machine, epoch: Epoch) -> bool {
    epoch < m.epoch && m.contests == 0
}

fn take_report(
    record: &mut Record,
    journal: &mut Journal,
    epoch: Epoch,
    report: AgentReport,
    from: IpAddr,
) {
    let m = &mut record.machine;
    if m.epoch != epoch {
        return;
    }
    let hardware = hardware_from_proto(report.hardware.unwrap_or_default());
    let other = record
        .identity
        .uuid
        .as_ref()
        .is_some_and(|u| !hardware.uuid.is_empty() && *u != hardware.uuid)
        || record
            .identity
            .serial
            .as_ref()
            .is_some_and(|s| !hardware.serial.is_empty() && *s != hardware.serial);
    if other {
        journal.alarm(
            "agent",
            "a report names another machine's UUID or serial; it was dropped",
        );
        return;
    }
    m.report = Some(Report {
        at: now(),
        epoch,
        hardware,
    });
    record.address = Some(from);
    journal.fact(Fact::AgentReported);
    journal.line("agent", format!("agent {} reports", report.agent_version));
}

fn present_order(m: &Machine, epoch: Epoch, after: u64) -> Option<AgentOrder> {
    if m.epoch != epoch {
        let wanted = matches!(
            m.phase,
            Phase::Inspecting | Phase::Installing(_) | Phase::Wiping
        );
        return (wanted && m.control == Control::Manual).then(|| reboot_order(m.epoch));
    }
    m.order
        .as_ref()
        .filter(|o| o.ended.is_none() && o.number > after)
        .map(order_to_proto)
}

async fn store_address(db: &mut SqliteConnection, machine: &MachineId, from: IpAddr) -> Result<()> {
    sqlx::query(
        "INSERT INTO addresses (address, machine) VALUES (?, ?) ON CONFLICT (address) DO UPDATE SET machine = excluded.machine",
    )
    .bind(from.to_string())
    .bind(&machine.0)
    .execute(db)
    .await?;
    Ok(())
}

async fn seen_before(db: &mut SqliteConnection, machine: &MachineId, id: &str) -> Result<bool> {
    let done = sqlx::query("INSERT OR IGNORE INTO events (machine, id, at) VALUES (?, ?, ?)")
        .bind(&machine.0)
        .bind(id)
        .bind(sql(now().0))
        .execute(&mut *db)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(true);
    }
    sqlx::query(
        "DELETE FROM events WHERE machine = ? AND at < (SELECT min(at) FROM (SELECT at FROM events WHERE machine = ? ORDER BY at DESC LIMIT ?))",
    )
    .bind(&machine.0)
    .bind(&machine.0)
    .bind(EVENTS_MAX)
    .execute(db)
    .await?;
    Ok(false)
}

impl Record {
    /// How the present boot is going, for people.
    pub fn progress(&self) -> Option<&'static str> {
        let last = self.machine.tries.last()?;
        Some(stage(&self.machine, last).0.waits_for())
    }
}
