//! Sessions: from Open Session to Close Session, on one socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::commands::{Caller, Effect, Memory};
use super::wire::{self, Inbound, SealedPacket, SessionKeys, Wrapper};
use super::{BmcConfig, BmcFaults, BootFlags, Control, Counters, Power, Suite, User};

/// An idle session is dropped after this, as the specification recommends (§6.12.15).
const IDLE_MAX: Duration = Duration::from_secs(60);
/// An unfinished handshake is dropped after this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Status codes of RMCP+ (table 13-15).
mod status {
    pub(super) const NO_RESOURCES: u8 = 0x01;
    pub(super) const NO_SUCH_SESSION: u8 = 0x02;
    pub(super) const ROLE: u8 = 0x0a;
    pub(super) const NO_SUCH_USER: u8 = 0x0d;
    pub(super) const INTEGRITY: u8 = 0x0f;
    pub(super) const NO_SUITE: u8 = 0x11;
    pub(super) const PARAMETER: u8 = 0x12;
}

/// All that a BMC remembers.
pub(super) struct State {
    pub(super) config: BmcConfig,
    pub(super) faults: BmcFaults,
    pub(super) memory: Memory,
    pub(super) controls: Vec<Control>,
    pub(super) counters: Counters,
    sessions: BTreeMap<u32, Session>,
}

struct Session {
    suite: Suite,
    console: u32,
    touched: Instant,
    stage: Stage,
}

enum Stage {
    Offered,
    Named(Named),
    Open(Open),
}

#[derive(Clone)]
struct Named {
    user: User,
    role: u8,
    console_random: [u8; 16],
    bmc_random: [u8; 16],
}

struct Open {
    keys: SessionKeys,
    user: User,
    level: u8,
    asked_max: u8,
    sent: u32,
    highest: u32,
    /// Numbers near the highest that were used.
    used: Vec<u32>,
}

/// What to do about one datagram.
#[derive(Default)]
pub(super) struct Reaction {
    pub(super) reply: Option<Vec<u8>>,
    pub(super) control: Option<(Control, BootFlags)>,
}

impl State {
    pub(super) fn new(config: BmcConfig) -> Self {
        Self {
            faults: config.faults,
            memory: Memory::new(&config.uuid, config.suites.clone()),
            controls: Vec::new(),
            counters: Counters::default(),
            sessions: BTreeMap::new(),
            config,
        }
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.sessions
            .values()
            .filter(|s| matches!(s.stage, Stage::Open(_)))
            .count()
    }

    pub(super) fn react(&mut self, datagram: &[u8], power: Power, now: Instant) -> Reaction {
        self.counters.datagrams += 1;
        if self.faults.silent {
            return Reaction::default();
        }
        let reply = match wire::read(datagram) {
            Some(Inbound::Ping(tag)) => Some(wire::pong(tag)),
            Some(Inbound::Sessionless(message, wrapper)) => self.sessionless(message, wrapper),
            Some(Inbound::Handshake(..)) if self.faults.only_ipmi15 => None,
            Some(Inbound::Handshake(0x10, payload)) => self.open_session(payload, now),
            Some(Inbound::Handshake(0x12, payload)) => self.rakp1(payload, now),
            Some(Inbound::Handshake(_, payload)) => self.rakp3(payload, now),
            Some(Inbound::Sealed(packet)) => return self.sealed(&packet, power, now),
            None => None,
        };
        Reaction {
            reply,
            control: None,
        }
    }

    fn sessionless(&self, message: &[u8], wrapper: Wrapper) -> Option<Vec<u8>> {
        let request = wire::read_request(message)?;
        let done = self.memory.sessionless(&request, &self.faults)?;
        let answer = request.answer(done.completion, &done.data);
        Some(wire::wrap_sessionless(&answer, wrapper))
    }

    fn open_session(&mut self, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let Some(console) = wire::u32_at(payload, 4).filter(|_| payload.len() >= 32) else {
            return Some(wire::wrap_clear(0x11, &[tag, status::PARAMETER, 0, 0]));
        };
        let refuse = |status: u8| {
            let mut out = vec![tag, status, 0, 0];
            out.extend(console.to_le_bytes());
            Some(wire::wrap_clear(0x11, &out))
        };
        let proposed = [payload[12], payload[20], payload[28]];
        let Some(suite) = self
            .config
            .suites
            .iter()
            .copied()
            .find(|suite| suite.numbers().1 == proposed)
        else {
            return refuse(status::NO_SUITE);
        };
        if !self.make_room(now) {
            return refuse(status::NO_RESOURCES);
        }
        let id = self.free_id();
        self.sessions.insert(
            id,
            Session {
                suite,
                console,
                touched: now,
                stage: Stage::Offered,
            },
        );
        let mut out = vec![tag, 0, 4, 0];
        out.extend(console.to_le_bytes());
        out.extend(id.to_le_bytes());
        for (kind, algorithm) in (0u8..).zip(proposed) {
            out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        Some(wire::wrap_clear(0x11, &out))
    }

    /// Drops what is over; true if there is room for one more session.
    fn make_room(&mut self, now: Instant) -> bool {
        self.sessions.retain(|_, session| {
            let limit = match session.stage {
                Stage::Open(_) => IDLE_MAX,
                Stage::Offered | Stage::Named(_) => HANDSHAKE_MAX,
            };
            now.duration_since(session.touched) < limit
        });
        if self.sessions.len() < self.config.sessions_max {
            return true;
        }
        let oldest = self
            .sessions
            .iter()
            .filter(|(_, s)| !matches!(s.stage, Stage::Open(_)))
            .min_by_key(|(_, s)| s.touched)
            .map(|(id, _)| *id);
        oldest.is_some_and(|id| self.sessions.remove(&id).is_some())
    }

    fn free_id(&self) -> u32 {
        loop {
            let id = u32::from_le_bytes(wire::random());
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    fn rakp1(&mut self, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let id = wire::u32_at(payload, 4)?;
        let console_random: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
        let role = *payload.get(24)?;
        let len = usize::from(*payload.get(27)?);
        let name = payload.get(28..28 + len)?;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Some(wire::wrap_clear(
                0x13,
                &[tag, status::NO_SUCH_SESSION, 0, 0, 0, 0, 0, 0],
            ));
        };
        session.touched = now;
        let console = session.console.to_le_bytes();
        let refuse = |status: u8| {
            let mut out = vec![tag, status, 0, 0];
            out.extend(console);
            Some(wire::wrap_clear(0x13, &out))
        };
        let Some(user) = self.config.users.iter().find(|u| u.name.as_bytes() == name) else {
            self.sessions.remove(&id);
            return refuse(status::NO_SUCH_USER);
        };
        if role & 0x0f > user.privilege.code() {
            self.sessions.remove(&id);
            return refuse(status::ROLE);
        }
        // The same RAKP 1 again gets the same RAKP 2.
        let bmc_random = match &session.stage {
            Stage::Named(named) if named.console_random == console_random => named.bmc_random,
            Stage::Open(_) => return None,
            Stage::Offered | Stage::Named(_) => wire::random(),
        };
        let proven = [
            &console[..],
            &id.to_le_bytes(),
            &console_random,
            &bmc_random,
            &self.memory.guid,
            &[role, u8::try_from(len).ok()?],
            name,
        ]
        .concat();
        let proof = session.suite.hash(&key(user, &self.faults), &proven);
        session.stage = Stage::Named(Named {
            user: user.clone(),
            role,
            console_random,
            bmc_random,
        });
        let mut out = vec![tag, 0, 0, 0];
        out.extend(console);
        out.extend(bmc_random);
        out.extend(self.memory.guid);
        out.extend(proof);
        Some(wire::wrap_clear(0x13, &out))
    }

    fn rakp3(&mut self, payload: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (tag, told) = (*payload.first()?, *payload.get(1)?);
        let id = wire::u32_at(payload, 4)?;
        let session = self.sessions.get_mut(&id)?;
        // A repeated RAKP 3 of an open session stays without an answer, as on many real BMCs.
        let Stage::Named(named) = &session.stage else {
            return None;
        };
        if told != 0 {
            self.sessions.remove(&id);
            return None;
        }
        let (suite, named) = (session.suite, named.clone());
        let console = session.console.to_le_bytes();
        let password = key(&named.user, &self.faults);
        let name = named.user.name.as_bytes();
        let who = [&[named.role, u8::try_from(name.len()).ok()?], name].concat();
        let expected = suite.hash(&password, &[&named.bmc_random[..], &console, &who].concat());
        if !wire::equal(&expected, payload.get(8..)?) {
            self.sessions.remove(&id);
            let mut out = vec![tag, status::INTEGRITY, 0, 0];
            out.extend(console);
            return Some(wire::wrap_clear(0x15, &out));
        }
        let randoms = [&named.console_random[..], &named.bmc_random].concat();
        let sik = suite.hash(&password, &[&randoms[..], &who].concat());
        let proven = [
            &named.console_random[..],
            &id.to_le_bytes(),
            &self.memory.guid,
        ]
        .concat();
        session.touched = now;
        session.stage = Stage::Open(Open {
            keys: SessionKeys::new(suite, &sik),
            user: named.user,
            level: 2,
            asked_max: named.role & 0x0f,
            sent: 0,
            highest: 0,
            used: Vec::new(),
        });
        self.counters.logins += 1;
        let mut out = vec![tag, 0, 0, 0];
        out.extend(console);
        out.extend(suite.short_hash(&sik, &proven));
        Some(wire::wrap_clear(0x15, &out))
    }

    fn sealed(&mut self, packet: &SealedPacket<'_>, power: Power, now: Instant) -> Reaction {
        let answered = self.command(packet, power, now);
        answered.unwrap_or_default()
    }

    fn command(
        &mut self,
        packet: &SealedPacket<'_>,
        power: Power,
        now: Instant,
    ) -> Option<Reaction> {
        let session = self.sessions.get_mut(&packet.session)?;
        let console = session.console;
        let Stage::Open(open) = &mut session.stage else {
            return None;
        };
        let message = open.keys.unseal(packet)?;
        if !open.accept(packet.sequence) {
            return None;
        }
        session.touched = now;
        let request = wire::read_request(&message)?;
        let caller = Caller {
            session: packet.session,
            level: open.level,
            asked_max: open.asked_max,
            user_max: open.user.privilege,
        };
        let done = self
            .memory
            .in_session(&request, &caller, power, &self.faults);
        open.sent += 1;
        let answer = request.answer(done.completion, &done.data);
        let mut reaction = Reaction {
            reply: Some(open.keys.seal(console, open.sent, &answer)),
            control: None,
        };
        match done.effect {
            Effect::None => {}
            Effect::Level(level) => open.level = level,
            Effect::Close => {
                self.sessions.remove(&packet.session);
            }
            Effect::Control(control, boot) => {
                self.controls.push(control);
                reaction.control = Some((control, boot));
            }
            Effect::NoControl(control) => self.controls.push(control),
        }
        Some(reaction)
    }
}

impl Open {
    /// Each session sequence number counts once; late ones count up to 16 behind (§6.12.13).
    fn accept(&mut self, sequence: u32) -> bool {
        if sequence == 0 || sequence.saturating_add(16) < self.highest {
            return false;
        }
        if self.used.contains(&sequence) {
            return false;
        }
        self.highest = self.highest.max(sequence);
        let oldest = self.highest.saturating_sub(16);
        self.used.push(sequence);
        self.used.retain(|n| *n >= oldest);
        true
    }
}

/// The user's key; a wrong one where no password shall be right.
fn key(user: &User, faults: &BmcFaults) -> Vec<u8> {
    let mut key = user.password.as_bytes().to_vec();
    if faults.refuse_login {
        key.insert(0, b'!');
    }
    key
}
