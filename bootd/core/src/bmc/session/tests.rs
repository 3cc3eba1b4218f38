//! Ladders with explicit times against a BMC of ten functions; no socket, no sleep.

use proptest::prelude::*;

use super::super::Suite;
use super::*;
use crate::secret::Secret;
use crate::wire::ipmi::tests::response;
use crate::wire::ipmi::{ChassisControl, Privilege};

const GUID: [u8; 16] = [9; 16];
const BMC_RANDOM: [u8; 16] = [8; 16];
const BMC_ID: u32 = 0x0b0c_0d0e;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Different bytes for each `n`.
fn entropy(n: u8) -> Entropy {
    Entropy(std::array::from_fn(|at| {
        n.wrapping_mul(41).wrapping_add(u8::try_from(at).unwrap())
    }))
}

/// A BMC that answers everything rightly and writes down what it was asked.
struct Peer {
    suite: Suite,
    password: &'static str,
    /// Algorithms that it claims to have chosen, if not those that were proposed.
    chooses: Option<u8>,
    console: [u8; 4],
    named: Vec<u8>,
    keys: Option<Keys>,
    sent: u32,
    log: Vec<String>,
}

impl Peer {
    fn new(suite: Suite, password: &'static str) -> Self {
        Self {
            suite,
            password,
            chooses: None,
            console: [0; 4],
            named: Vec::new(),
            keys: None,
            sent: 0,
            log: Vec::new(),
        }
    }

    fn answer(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        match rmcp::parse(datagram).unwrap() {
            Datagram::Sessionless(message) => {
                self.log.push("caps".to_owned());
                let to = Envelope {
                    netfn: 6,
                    cmd: 0x38,
                    rq_seq: message[4] >> 2,
                };
                let caps = response(to, 0, &[1, 0x80, 0, 2, 0, 0, 0, 0]);
                Some(rmcp::emit_sessionless(&caps))
            }
            Datagram::Wrapped(packet) => match packet.kind {
                PayloadKind::OpenSessionRequest => Some(self.open(&packet.payload)),
                PayloadKind::Rakp1 => Some(self.rakp1(&packet.payload)),
                PayloadKind::Rakp3 => self.rakp3(&packet.payload),
                PayloadKind::Ipmi => Some(self.command(&packet)),
                PayloadKind::OpenSessionResponse | PayloadKind::Rakp2 | PayloadKind::Rakp4 => None,
            },
            Datagram::Asf => None,
        }
    }

    fn open(&mut self, payload: &[u8]) -> Vec<u8> {
        self.console.copy_from_slice(&payload[4..8]);
        self.log.push(format!(
            "open tag={:02x} console={:02x?}",
            payload[0], self.console
        ));
        let mut out = vec![payload[0], 0, 4, 0];
        out.extend(self.console);
        out.extend(BMC_ID.to_le_bytes());
        out.extend(&payload[8..32]);
        if let Some(algorithm) = self.chooses {
            out[16] = algorithm;
        }
        rmcp::emit_clear(PayloadKind::OpenSessionResponse, &out)
    }

    fn rakp1(&mut self, payload: &[u8]) -> Vec<u8> {
        self.log.push(format!("rakp1 role={:02x}", payload[24]));
        self.named = payload.to_vec();
        let proof = self.suite.keyed_hash(
            self.password.as_bytes(),
            &[
                &self.console,
                &payload[4..24],
                &BMC_RANDOM,
                &GUID,
                &payload[24..25],
                &payload[27..],
            ],
        );
        let mut out = vec![payload[0], 0, 0, 0];
        out.extend(self.console);
        out.extend(BMC_RANDOM);
        out.extend(GUID);
        out.extend(proof);
        rmcp::emit_clear(PayloadKind::Rakp2, &out)
    }

    fn rakp3(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let proof = payload.len() - 8;
        self.log
            .push(format!("rakp3 status={:02x} proof={proof}", payload[1]));
        if payload[1] != 0 {
            return None;
        }
        let (named, key) = (&self.named, self.password.as_bytes());
        let who: &[&[u8]] = &[&named[24..25], &named[27..]];
        let parts = [&[&named[8..24], &BMC_RANDOM], who].concat();
        let sik = self.suite.keyed_hash(key, &parts);
        let keys = Keys::derive(self.suite, sik);
        let mut out = vec![payload[0], 0, 0, 0];
        out.extend(self.console);
        out.extend(keys.session_proof(&[&named[8..24], &named[4..8], &GUID]));
        self.keys = Some(keys);
        Some(rmcp::emit_clear(PayloadKind::Rakp4, &out))
    }

    fn command(&mut self, packet: &rmcp::Wrapped) -> Vec<u8> {
        let keys = self.keys.as_ref().unwrap();
        let (covered, code) = packet.split_code(keys.code_len()).unwrap();
        assert_eq!(keys.sign(covered), code);
        assert_eq!(packet.session, BMC_ID);
        let message = keys.decrypt(&packet.payload).unwrap();
        let to = Envelope {
            netfn: message[1] >> 2,
            cmd: message[5],
            rq_seq: message[4] >> 2,
        };
        self.log.push(format!(
            "{:02x}/{:02x} seq={} rq={}",
            to.netfn, to.cmd, packet.sequence, to.rq_seq
        ));
        self.sent += 1;
        let sealed = keys.encrypt(&response(to, 0, &[1, 0, 0]), [3; 16]);
        let console = u32::from_le_bytes(self.console);
        rmcp::emit_sealed(PayloadKind::Ipmi, console, self.sent, &sealed, |covered| {
            keys.sign(covered)
        })
    }
}

/// A session and a BMC joined by a network that loses the replies whose numbers (from 1) are in `lost`.
struct Pair {
    session: Session,
    peer: Peer,
    now: Timestamp,
    drawn: u8,
    replies: u32,
    lost: Vec<u32>,
    heard: Vec<Vec<u8>>,
}

impl Pair {
    fn new(suite: Suite, password: &'static str, lost: &[u32]) -> Self {
        let login = Login::new(
            "admin".to_owned(),
            Secret::new("right".to_owned()),
            Privilege::Operator,
            suite,
        )
        .unwrap();
        let timing = Timing {
            handshake: vec![millis(400), millis(800)],
            handshakes_max: 3,
            command: vec![millis(500), millis(1000)],
        };
        Self {
            session: Session::new(login, timing),
            peer: Peer::new(suite, password),
            now: Timestamp(0),
            drawn: 0,
            replies: 0,
            lost: lost.to_vec(),
            heard: Vec::new(),
        }
    }

    fn draw(&mut self) -> Entropy {
        self.drawn += 1;
        entropy(self.drawn)
    }

    /// Runs until the session has something to say; time passes only when nothing else can happen.
    fn run(&mut self) -> Event {
        for _ in 0..200 {
            while let Some(datagram) = self.session.poll_transmit() {
                self.deliver(&datagram);
            }
            if let Some(event) = self.session.poll_event() {
                return event;
            }
            let at = self.session.poll_timeout().expect("it waits for something");
            assert!(at >= self.now, "time-outs lie ahead");
            self.now = at;
            let line = format!("-- {} ms", at.0);
            self.peer.log.push(line);
            let entropy = self.draw();
            self.session.handle_timeout(at, &entropy);
        }
        panic!("no end in sight: {:#?}", self.peer.log);
    }

    fn deliver(&mut self, datagram: &[u8]) {
        let Some(reply) = self.peer.answer(datagram) else {
            return;
        };
        self.replies += 1;
        if self.lost.contains(&self.replies) {
            return;
        }
        self.heard.push(reply.clone());
        let entropy = self.draw();
        self.session.handle_datagram(self.now, &reply, &entropy);
    }

    fn open(&mut self) -> Event {
        let entropy = self.draw();
        self.session.open(self.now, &entropy);
        self.run()
    }

    fn ask(&mut self, command: Command) -> Event {
        let entropy = self.draw();
        self.session
            .submit(self.now, command, Patience::Full, &entropy)
            .unwrap();
        self.run()
    }

    fn ladder(&self) -> String {
        self.peer.log.join("\n")
    }
}

#[test]
fn a_whole_session_without_loss() {
    for suite in [Suite::Three, Suite::Seventeen] {
        let mut pair = Pair::new(suite, "right", &[]);
        assert_eq!(pair.open(), Event::Opened);
        let answer = pair.ask(Command::ChassisStatus);
        assert!(matches!(answer, Event::Answered { completion: 0, .. }));
        assert_eq!(
            pair.session.poll_timeout(),
            None,
            "an idle session waits for nothing"
        );
        let entropy = pair.draw();
        pair.session.close(pair.now, &entropy);
        assert_eq!(pair.run(), Event::Closed);
        let proof = if suite == Suite::Three { 20 } else { 32 };
        assert_eq!(
            pair.ladder(),
            format!(
                "open tag=2d console=[29, 2a, 2b, 2c]\nrakp1 role=13\nrakp3 status=00 proof={proof}\n\
                 06/3b seq=1 rq=1\n00/01 seq=2 rq=2\n06/3c seq=3 rq=3"
            )
        );
    }
}

#[test]
fn a_lost_rakp_4_starts_over_with_new_ids() {
    let mut pair = Pair::new(Suite::Seventeen, "right", &[3]);
    assert_eq!(pair.open(), Event::Opened);
    insta::assert_snapshot!(pair.ladder(), @r"
    open tag=2d console=[29, 2a, 2b, 2c]
    rakp1 role=13
    rakp3 status=00 proof=32
    -- 800 ms
    caps
    open tag=d1 console=[cd, ce, cf, d0]
    rakp1 role=13
    rakp3 status=00 proof=32
    06/3b seq=1 rq=1
    ");
}

#[test]
fn every_third_reply_lost_opens_all_the_same() {
    let every_third: Vec<u32> = (1..40).map(|n| n * 3).collect();
    let mut pair = Pair::new(Suite::Seventeen, "right", &every_third);
    assert_eq!(pair.open(), Event::Opened);
}

#[test]
fn a_silent_bmc() {
    let all: Vec<u32> = (1..100).collect();
    let mut pair = Pair::new(Suite::Seventeen, "right", &all);
    let asked = OPEN_SESSION;
    assert_eq!(pair.open(), Event::Failed(Failure::Silent { asked }));
    assert_eq!(pair.session.heard(), None);
    insta::assert_snapshot!(pair.ladder());
}

#[test]
fn a_repeated_command_has_a_new_sequence_and_the_same_number() {
    let mut pair = Pair::new(Suite::Seventeen, "right", &[5]);
    assert_eq!(pair.open(), Event::Opened);
    pair.peer.log.clear();
    assert!(matches!(
        pair.ask(Command::ChassisStatus),
        Event::Answered { .. }
    ));
    assert_eq!(
        pair.ladder(),
        "00/01 seq=2 rq=2\n-- 500 ms\n00/01 seq=3 rq=2"
    );
}

#[test]
fn a_cycle_is_sent_once_and_waited_for_longest() {
    let mut pair = Pair::new(Suite::Seventeen, "right", &[5]);
    assert_eq!(pair.open(), Event::Opened);
    pair.peer.log.clear();
    let cycle = Command::ChassisControl(ChassisControl::Cycle);
    let asked = cycle.name();
    assert_eq!(pair.ask(cycle), Event::Lost { asked });
    assert_eq!(pair.ladder(), "00/02 seq=2 rq=2\n-- 1000 ms");
    let entropy = pair.draw();
    let late = pair
        .session
        .submit(pair.now, cycle, Patience::Full, &entropy);
    assert_eq!(late, Err(Busy), "a lost session takes nothing more");
}

#[test]
fn a_wrong_password_is_seen_before_anything_is_proven() {
    let mut pair = Pair::new(Suite::Seventeen, "wrong", &[]);
    assert_eq!(pair.open(), Event::Failed(Failure::WrongPassword));
    while let Some(datagram) = pair.session.poll_transmit() {
        pair.deliver(&datagram);
    }
    assert!(
        pair.ladder().ends_with("rakp3 status=0f proof=0"),
        "the BMC is told, without a proof: {}",
        pair.ladder()
    );
    assert_eq!(pair.now, Timestamp(0), "at once");
}

#[test]
fn other_algorithms_than_the_proposed_end_it() {
    let mut pair = Pair::new(Suite::Seventeen, "right", &[]);
    pair.peer.chooses = Some(1);
    assert_eq!(pair.open(), Event::Failed(Failure::OtherAlgorithms));
    assert_eq!(pair.session.poll_transmit(), None);
}

#[test]
fn statuses_of_open_session() {
    let check = |status: u8, expected: Failure| {
        let mut pair = Pair::new(Suite::Seventeen, "right", &[]);
        let entropy = pair.draw();
        pair.session.open(pair.now, &entropy);
        // OpenIPMI's simulator sends these two bytes only.
        let refusal = rmcp::emit_clear(PayloadKind::OpenSessionResponse, &[entropy.tag(), status]);
        pair.session.handle_datagram(pair.now, &refusal, &entropy);
        assert_eq!(
            pair.session.poll_event(),
            Some(Event::Failed(expected)),
            "status {status:#04x}"
        );
    };
    check(0x11, Failure::SuiteNotOffered);
    check(0x04, Failure::SuiteNotOffered);
    check(0x01, Failure::NoSlot);
    check(0x0a, Failure::Privilege);
    let asked = OPEN_SESSION;
    // "Illegal parameter" says nothing about suites: no reason to try a weaker one.
    check(
        0x12,
        Failure::Status {
            asked,
            status: 0x12,
        },
    );
}

#[test]
fn replays_and_early_time_outs_change_nothing() {
    let mut pair = Pair::new(Suite::Seventeen, "right", &[]);
    assert_eq!(pair.open(), Event::Opened);
    pair.ask(Command::ChassisStatus);
    let replays = pair.heard.clone();
    let entropy = pair.draw();
    pair.session
        .submit(pair.now, Command::DeviceId, Patience::Full, &entropy)
        .unwrap();
    let request = pair.session.poll_transmit().unwrap();
    for replay in &replays {
        pair.session.handle_datagram(pair.now, replay, &entropy);
    }
    pair.session.handle_timeout(Timestamp(499), &entropy);
    assert_eq!(pair.session.poll_event(), None);
    assert_eq!(pair.session.poll_transmit(), None);
    pair.deliver(&request);
    assert!(matches!(
        pair.session.poll_event(),
        Some(Event::Answered { .. })
    ));
}

#[test]
fn a_packet_with_one_flipped_bit_is_ignored() {
    let mut pair = Pair::new(Suite::Three, "right", &[]);
    assert_eq!(pair.open(), Event::Opened);
    let entropy = pair.draw();
    pair.session
        .submit(pair.now, Command::ChassisStatus, Patience::Full, &entropy)
        .unwrap();
    let request = pair.session.poll_transmit().unwrap();
    let reply = pair.peer.answer(&request).unwrap();
    for at in 4..reply.len() {
        for bit in 0..8 {
            let mut flipped = reply.clone();
            flipped[at] ^= 1 << bit;
            pair.session.handle_datagram(pair.now, &flipped, &entropy);
            assert_eq!(pair.session.poll_event(), None, "byte {at}, bit {bit}");
        }
    }
    pair.session.handle_datagram(pair.now, &reply, &entropy);
    assert!(matches!(
        pair.session.poll_event(),
        Some(Event::Answered { .. })
    ));
}

proptest! {
    /// Noise between any two steps neither panics nor ends the session.
    #[test]
    fn hostile_bytes_at_every_step(
        noise in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..100), 0u8..7), 1..12
        ),
        lost in proptest::collection::vec(1u32..12, 0..2),
    ) {
        let mut pair = Pair::new(Suite::Seventeen, "right", &lost);
        let entropy = pair.draw();
        pair.session.open(pair.now, &entropy);
        let mut noise = noise.into_iter().cycle();
        loop {
            let (bytes, kind) = noise.next().unwrap();
            let hostile = match kind {
                0 => bytes,
                1 => rmcp::emit_sessionless(&bytes),
                2 => rmcp::emit_clear(PayloadKind::OpenSessionResponse, &bytes),
                3 => rmcp::emit_clear(PayloadKind::Rakp2, &bytes),
                4 => rmcp::emit_clear(PayloadKind::Rakp4, &bytes),
                5 => rmcp::emit_clear(PayloadKind::Ipmi, &bytes),
                _ => rmcp::emit_sealed(PayloadKind::Ipmi, 0x2c2b_2a29, 1, &bytes, |_| bytes.clone()),
            };
            // Who guesses our tag of one byte and leaves the session id out can refuse us; that is not what is tested here.
            let guessed = matches!(kind, 2..=4) && hostile.len() < 24;
            if !guessed {
                pair.session.handle_datagram(pair.now, &hostile, &entropy);
            }
            while let Some(datagram) = pair.session.poll_transmit() {
                pair.deliver(&datagram);
            }
            match pair.session.poll_event() {
                Some(event) => {
                    prop_assert_eq!(event, Event::Opened);
                    break;
                }
                None => {
                    if let Some(at) = pair.session.poll_timeout() {
                        pair.now = at;
                        let entropy = pair.draw();
                        pair.session.handle_timeout(at, &entropy);
                    }
                }
            }
        }
    }
}
