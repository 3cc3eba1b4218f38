//! One RMCP+ session as a state machine: **after any call, drain `poll_transmit` and `poll_event`, then wait for a datagram or
//! for `poll_timeout`.**
//!
//! What it promises, rule by rule:
//! * A datagram that does not verify is ignored; it neither ends nor delays anything. Only an answer that carries our own random
//!   session id and tag can end a handshake early.
//! * RAKP 2 is verified in constant time before RAKP 3 is computed: who does not know the password learns nothing from us.
//! * The algorithms that the BMC chose are those that we asked for; there is no fallback in here.
//! * A lost RAKP 4 restarts from Open Session with new ids: a repeated RAKP 3 is answered encrypted or not at all. A restart asks
//!   for the channel capabilities first, so that a loss that hits every third reply does not meet RAKP 4 each time.
//! * A repeated command has a new session sequence number and the same requester's number; one that must not run twice is not
//!   repeated.
//! * Every session starts by raising its privilege to the one that was asked for, and ends with Close Session.
//!
//! Deliberately not here: choice of suite, reopening after silence, meaning of command data.

mod state;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::crypto::{Keys, same};
use super::event::{Busy, Entropy, Event, Failure, Heard, Patience};
use super::window::Window;
use super::{Login, Timing};
use crate::id::Timestamp;
use crate::wire::ipmi::{self, ChannelHint, Command, Envelope, Repeat};
use crate::wire::rmcp::{self, Answer, Datagram, Opened, PayloadKind, Protection, Rakp2, Rakp4};
use state::{Flight, Live, Naming, Proving, Purpose, State};

/// One session, from its opening to its end. A new one is made after it is over.
pub struct Session {
    login: Login,
    timing: Timing,
    state: State,
    /// Handshakes that were started.
    handshakes: u32,
    /// How often the present message was sent.
    sendings: usize,
    deadline: Option<Timestamp>,
    /// The present handshake message, for repetition.
    message: Vec<u8>,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    heard: Option<Heard>,
    hint: Option<ChannelHint>,
}

const OPEN_SESSION: &str = "Open Session";
const RAKP_1: &str = "RAKP 1";
const RAKP_3: &str = "RAKP 3";
const CHANNEL: &str = "Get Channel Authentication Capabilities";

impl Session {
    /// A session that has sent nothing yet.
    pub const fn new(login: Login, timing: Timing) -> Self {
        Self {
            login,
            timing,
            state: State::Idle,
            handshakes: 0,
            sendings: 0,
            deadline: None,
            message: Vec::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            heard: None,
            hint: None,
        }
    }

    /// Starts the handshake. Does nothing but the first time.
    pub fn open(&mut self, now: Timestamp, entropy: &Entropy) {
        if matches!(self.state, State::Idle) {
            self.handshakes = 1;
            self.send_open(now, entropy);
        }
    }

    /// Sends a command; its end is [`Event::Answered`] or [`Event::Lost`].
    ///
    /// # Errors
    /// The session is not open yet or any more, or another command is in flight.
    pub fn submit(
        &mut self,
        now: Timestamp,
        command: Command,
        patience: Patience,
        entropy: &Entropy,
    ) -> Result<(), Busy> {
        match &self.state {
            State::Live(live) if live.flight.is_none() => {
                self.start(now, command, Purpose::Ask(patience), entropy);
                Ok(())
            }
            State::Live(_)
            | State::Idle
            | State::Asking { .. }
            | State::Opening { .. }
            | State::Naming(_)
            | State::Proving(_)
            | State::Over => Err(Busy),
        }
    }

    /// Ends the session: with Close Session where it is open and idle, silently elsewhere. [`Event::Closed`] follows.
    pub fn close(&mut self, now: Timestamp, entropy: &Entropy) {
        match &self.state {
            State::Live(live) if live.flight.is_none() => {
                let command = Command::CloseSession(live.bmc);
                self.start(now, command, Purpose::Close, entropy);
            }
            State::Over => {}
            State::Live(_)
            | State::Idle
            | State::Asking { .. }
            | State::Opening { .. }
            | State::Naming(_)
            | State::Proving(_) => self.end(Event::Closed),
        }
    }

    /// The next datagram to send. Changes after every other call.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called. Changes after every other call.
    pub const fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The next event. Changes after every other call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The newest thing that the BMC answered in this session.
    pub const fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// What the BMC said about its channel, where it was asked. Not authenticated.
    pub const fn hint(&self) -> Option<ChannelHint> {
        self.hint
    }

    /// Time passed. Calls before the time are harmless.
    pub fn handle_timeout(&mut self, now: Timestamp, entropy: &Entropy) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.state {
            State::Idle | State::Over => self.deadline = None,
            State::Asking { .. } => self.send_open(now, entropy),
            State::Opening { .. } => self.repeat_handshake(now, OPEN_SESSION, entropy),
            State::Naming(_) => self.repeat_handshake(now, RAKP_1, entropy),
            State::Proving(_) => self.restart(now, RAKP_3, entropy),
            State::Live(live) => match live.flight {
                Some(flight) => self.repeat_command(now, flight, entropy),
                None => self.deadline = None,
            },
        }
    }

    /// A datagram came from the BMC's address. What does not verify changes nothing.
    pub fn handle_datagram(&mut self, now: Timestamp, bytes: &[u8], entropy: &Entropy) {
        match rmcp::parse(bytes) {
            Ok(Datagram::Sessionless(message)) => self.on_hint(now, &message, entropy),
            Ok(Datagram::Wrapped(packet)) => match (packet.protection, packet.kind) {
                (Protection::Clear, PayloadKind::OpenSessionResponse) => {
                    if let Ok(answer) = rmcp::parse_open_session(&packet.payload) {
                        self.on_opened(now, answer, entropy);
                    }
                }
                (Protection::Clear, PayloadKind::Rakp2) => {
                    if let Ok(answer) = rmcp::parse_rakp2(&packet.payload) {
                        self.on_rakp2(now, answer, entropy);
                    }
                }
                (Protection::Clear, PayloadKind::Rakp4) => {
                    if let Ok(answer) = rmcp::parse_rakp4(&packet.payload) {
                        self.on_rakp4(now, &answer, entropy);
                    }
                }
                (Protection::Sealed, PayloadKind::Ipmi) => self.on_sealed(now, &packet, entropy),
                _ => {}
            },
            Ok(Datagram::Asf) | Err(_) => {}
        }
    }

    // ---- handshake ----

    fn send_open(&mut self, now: Timestamp, entropy: &Entropy) {
        let (console, tag) = (entropy.session_id(), entropy.tag());
        let payload = rmcp::emit_open_session(
            tag,
            self.login.privilege.code(),
            console,
            self.login.suite.algorithms(),
        );
        self.state = State::Opening { console, tag };
        self.send_handshake(now, PayloadKind::OpenSessionRequest, &payload);
    }

    fn on_hint(&mut self, now: Timestamp, message: &[u8], entropy: &Entropy) {
        let State::Asking { rq_seq } = self.state else {
            return;
        };
        let Ok(response) = ipmi::parse_response(message) else {
            return;
        };
        if response.to.rq_seq != rq_seq {
            return;
        }
        self.hear(now, CHANNEL);
        self.hint = ipmi::parse_channel_hint(&response).ok();
        self.send_open(now, entropy);
    }

    fn on_opened(&mut self, now: Timestamp, answer: Answer<Opened>, entropy: &Entropy) {
        let State::Opening { console, tag } = self.state else {
            return;
        };
        if answer.tag != tag || answer.console.is_some_and(|id| id != console) {
            return;
        }
        self.hear(now, OPEN_SESSION);
        let opened = match answer.outcome {
            Ok(opened) => opened,
            Err(status) => return self.refuse(now, OPEN_SESSION, status.0, entropy),
        };
        if opened.algorithms != self.login.suite.algorithms() {
            return self.fail(Failure::OtherAlgorithms);
        }
        let naming = Naming {
            console,
            bmc: opened.bmc,
            tag: tag.wrapping_add(1),
            random: entropy.block(),
        };
        let payload = rmcp::emit_rakp1(
            naming.tag,
            naming.bmc,
            naming.random,
            self.role(),
            self.login.username.as_bytes(),
        );
        self.state = State::Naming(naming);
        self.send_handshake(now, PayloadKind::Rakp1, &payload);
    }

    fn on_rakp2(&mut self, now: Timestamp, answer: Answer<Rakp2>, entropy: &Entropy) {
        let State::Naming(naming) = &self.state else {
            return;
        };
        if answer.tag != naming.tag || answer.console.is_some_and(|id| id != naming.console) {
            return;
        }
        let rakp2 = match answer.outcome {
            Ok(rakp2) => rakp2,
            Err(status) => {
                self.hear(now, RAKP_1);
                return self.refuse(now, RAKP_1, status.0, entropy);
            }
        };
        let suite = self.login.suite;
        let key = self.login.password.expose().as_bytes();
        let name = self.login.username.as_bytes();
        let (console, bmc) = (naming.console.to_le_bytes(), naming.bmc.to_le_bytes());
        let len = u8::try_from(name.len()).expect("Login::new checked the length");
        let role = [self.role(), len];
        let expected = suite.keyed_hash(
            key,
            &[
                &console,
                &bmc,
                &naming.random,
                &rakp2.random,
                &rakp2.guid,
                &role,
                name,
            ],
        );
        let tag = naming.tag.wrapping_add(1);
        if !same(&expected, &rakp2.proof) {
            // Tell the BMC, so that it frees the slot at once. The message holds no proof.
            let status = rmcp::Status::INVALID_INTEGRITY;
            let goodbye = rmcp::emit_rakp3(tag, status, naming.bmc, &[]);
            self.out
                .push_back(rmcp::emit_clear(PayloadKind::Rakp3, &goodbye));
            self.hear(now, RAKP_1);
            return self.fail(Failure::WrongPassword);
        }
        let proof = suite.keyed_hash(key, &[&rakp2.random, &console, &role, name]);
        let session_key = suite.keyed_hash(key, &[&naming.random, &rakp2.random, &role, name]);
        let keys = Keys::derive(suite, session_key);
        let proving = Proving {
            console: naming.console,
            bmc: naming.bmc,
            tag,
            expected: keys.session_proof(&[&naming.random, &bmc, &rakp2.guid]),
            keys,
        };
        let payload = rmcp::emit_rakp3(tag, rmcp::Status::OK, proving.bmc, &proof);
        self.hear(now, RAKP_1);
        self.state = State::Proving(proving);
        self.send_handshake(now, PayloadKind::Rakp3, &payload);
        // RAKP 3 is sent once: give its answer the longest wait at once.
        self.deadline = self.timing.handshake.last().map(|wait| now + *wait);
    }

    fn on_rakp4(&mut self, now: Timestamp, answer: &Answer<Rakp4>, entropy: &Entropy) {
        let State::Proving(proving) = &self.state else {
            return;
        };
        if answer.tag != proving.tag || answer.console.is_some_and(|id| id != proving.console) {
            return;
        }
        let verified = match &answer.outcome {
            Ok(rakp4) => Ok(same(&proving.expected, &rakp4.proof)),
            Err(status) => Err(status.0),
        };
        self.hear(now, RAKP_3);
        match verified {
            Ok(true) => self.go_live(now, entropy),
            Ok(false) => self.fail(Failure::KeyMismatch),
            // The BMC proved in RAKP 2 that it knows our password, so this is about another RAKP 2 than the one that reached us.
            Err(status) if status == rmcp::Status::INVALID_INTEGRITY.0 => {
                self.restart(now, RAKP_3, entropy);
            }
            Err(status) => self.refuse(now, RAKP_3, status, entropy),
        }
    }

    fn go_live(&mut self, now: Timestamp, entropy: &Entropy) {
        let State::Proving(proving) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        self.state = State::Live(Live {
            console: proving.console,
            bmc: proving.bmc,
            keys: proving.keys,
            sequence: 0,
            window: Window::default(),
            rq_seq: 0,
            flight: None,
        });
        let command = Command::SetPrivilege(self.login.privilege);
        self.start(now, command, Purpose::Raise, entropy);
    }

    /// A status other than "no error" (table 13-15).
    fn refuse(&mut self, now: Timestamp, asked: &'static str, status: u8, entropy: &Entropy) {
        match status {
            0x01 | 0x0b => self.fail(Failure::NoSlot),
            // "Invalid session id", "inactive session id": it is about a handshake that is gone.
            0x02 | 0x08 => self.restart(now, asked, entropy),
            0x04..=0x07 | 0x10 | 0x11 => self.fail(Failure::SuiteNotOffered),
            0x09 | 0x0a => self.fail(Failure::Privilege),
            0x0c | 0x0d => self.fail(Failure::UnknownUser),
            0x0f => self.fail(Failure::WrongPassword),
            status => self.fail(Failure::Status { asked, status }),
        }
    }

    fn send_handshake(&mut self, now: Timestamp, kind: PayloadKind, payload: &[u8]) {
        self.message = rmcp::emit_clear(kind, payload);
        self.out.push_back(self.message.clone());
        self.sendings = 1;
        self.deadline = self.timing.handshake.first().map(|wait| now + *wait);
    }

    fn repeat_handshake(&mut self, now: Timestamp, asked: &'static str, entropy: &Entropy) {
        match self.timing.handshake.get(self.sendings) {
            Some(wait) => {
                self.deadline = Some(now + *wait);
                self.sendings += 1;
                self.out.push_back(self.message.clone());
            }
            None => self.restart(now, asked, entropy),
        }
    }

    /// Starts over with new ids, or gives up.
    fn restart(&mut self, now: Timestamp, asked: &'static str, entropy: &Entropy) {
        if self.handshakes >= self.timing.handshakes_max {
            return self.fail(Failure::Silent { asked });
        }
        self.handshakes += 1;
        let rq_seq = entropy.tag() & 0x3f;
        self.state = State::Asking { rq_seq };
        self.out
            .push_back(rmcp::emit_sessionless(&ipmi::emit_channel_question(rq_seq)));
        self.deadline = self.timing.handshake.first().map(|wait| now + *wait);
    }

    /// Name-only lookup, so that the user's first entry counts, with the privilege that we want (table 13-11).
    const fn role(&self) -> u8 {
        0x10 | self.login.privilege.code()
    }

    // ---- commands ----

    fn start(&mut self, now: Timestamp, command: Command, purpose: Purpose, entropy: &Entropy) {
        if let State::Live(live) = &mut self.state {
            live.rq_seq = live.rq_seq.wrapping_add(1) & 0x3f;
            live.flight = Some(Flight { command, purpose });
            self.sendings = 0;
            self.send_command(now, entropy);
        }
    }

    fn send_command(&mut self, now: Timestamp, entropy: &Entropy) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let Some(flight) = live.flight else {
            return;
        };
        let waits = waits(&self.timing, flight.purpose);
        let wait = match flight.command.repeat() {
            Repeat::Harmless => waits.get(self.sendings),
            // Sent once, so wait as long for it as for the slowest repetition.
            Repeat::Never => waits.iter().max(),
        };
        let Some(wait) = wait else {
            return;
        };
        let (netfn, cmd) = flight.command.numbers();
        let envelope = Envelope {
            netfn,
            cmd,
            rq_seq: live.rq_seq,
        };
        let message = ipmi::emit_request(envelope, &flight.command.data());
        // Zero is for packets outside a session.
        live.sequence = live.sequence.checked_add(1).unwrap_or(1);
        let sealed = live.keys.encrypt(&message, entropy.block());
        self.out.push_back(rmcp::emit_sealed(
            PayloadKind::Ipmi,
            live.bmc,
            live.sequence,
            &sealed,
            |covered| live.keys.sign(covered),
        ));
        self.sendings += 1;
        self.deadline = Some(now + *wait);
    }

    fn repeat_command(&mut self, now: Timestamp, flight: Flight, entropy: &Entropy) {
        let more = self.sendings < waits(&self.timing, flight.purpose).len();
        if more && flight.command.repeat() == Repeat::Harmless {
            return self.send_command(now, entropy);
        }
        match flight.purpose {
            Purpose::Raise => self.restart(now, flight.command.name(), entropy),
            Purpose::Ask(_) => self.end(Event::Lost {
                asked: flight.command.name(),
            }),
            Purpose::Close => self.end(Event::Closed),
        }
    }

    fn on_sealed(&mut self, now: Timestamp, packet: &rmcp::Wrapped, entropy: &Entropy) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let Some((covered, code)) = packet.split_code(live.keys.code_len()) else {
            return;
        };
        if packet.session != live.console
            || !same(&live.keys.sign(covered), code)
            || !live.window.accept(packet.sequence)
        {
            return;
        }
        let Some(message) = live.keys.decrypt(&packet.payload) else {
            return;
        };
        let Ok(response) = ipmi::parse_response(&message) else {
            return;
        };
        let Some(flight) = live.flight else {
            return;
        };
        let (netfn, cmd) = flight.command.numbers();
        let expected = Envelope {
            netfn,
            cmd,
            rq_seq: live.rq_seq,
        };
        if response.to != expected {
            return;
        }
        live.flight = None;
        self.deadline = None;
        self.hear(now, flight.command.name());
        match flight.purpose {
            Purpose::Raise if response.completion == 0 => self.events.push_back(Event::Opened),
            Purpose::Raise => {
                // The BMC counts the session as open: give the slot back before giving up.
                self.close(now, entropy);
                self.fail(Failure::Privilege);
            }
            Purpose::Ask(_) => self.events.push_back(Event::Answered {
                completion: response.completion,
                data: response.data,
            }),
            Purpose::Close => self.end(Event::Closed),
        }
    }

    // ---- ends ----

    fn hear(&mut self, at: Timestamp, what: &'static str) {
        self.heard = Some(Heard { what, at });
    }

    fn fail(&mut self, failure: Failure) {
        self.end(Event::Failed(failure));
    }

    fn end(&mut self, event: Event) {
        self.state = State::Over;
        self.deadline = None;
        self.message.clear();
        self.events.push_back(event);
    }
}

/// Our own two commands belong to opening and closing, and are waited for as long as a handshake message.
fn waits(timing: &Timing, purpose: Purpose) -> &[Duration] {
    match purpose {
        Purpose::Raise | Purpose::Close => &timing.handshake,
        Purpose::Ask(Patience::Full) => &timing.command,
        Purpose::Ask(Patience::Short) => &timing.command[..timing.command.len().min(2)],
    }
}
