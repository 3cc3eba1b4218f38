//! bootd's BMC driver against the simulated BMC: the verbs, and every way in which a BMC can fail them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bmc_machine;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use acctest::bmc::{
    Bmc, BmcConfig, BmcFaults, BootFlags as Flags, Chassis, Control, Power, Privilege, User, serve,
};
use bmc_machine::Obedient;
use bootd::bmc::{
    BmcError, BootDevice, CipherZero, Firmware, Fleet, Kept, LastAnswer, PowerOutcome, PowerState,
    Refusal, Secret, Settings, Suite, Target, Timing,
};

const PASSWORD: &str = "s3cret-16-bytes!";
const UUID: &str = "00010203-0405-0607-0809-0a0b0c0d0e0f";

/// As patient as the default, ten times faster.
fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        timing: Timing {
            handshake: vec![ms(40), ms(80)],
            handshakes_max: 6,
            command: vec![ms(50), ms(100), ms(200), ms(400), ms(400)],
        },
        interval_min: Duration::ZERO,
        follow_max: ms(300),
        follow_pause: ms(20),
        ..Settings::default()
    }
}

fn config() -> BmcConfig {
    let mut config = BmcConfig::new("admin", PASSWORD);
    config.uuid = UUID.to_owned();
    for (name, privilege) in [("oper", Privilege::Operator), ("viewer", Privilege::User)] {
        config.users.push(User {
            name: name.to_owned(),
            password: format!("{name}pass"),
            privilege,
        });
    }
    config
}

fn target(bmc: &Bmc, username: &str, password: &str) -> Target {
    Target {
        address: bmc.address().ip().to_string(),
        port: bmc.address().port(),
        username: username.to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

struct Bench {
    bmc: Bmc,
    machine: Arc<Obedient>,
    fleet: Fleet,
    target: Target,
}

impl Bench {
    async fn start(config: BmcConfig) -> Self {
        let machine = Arc::new(Obedient::new());
        let bmc = serve(config, machine.clone()).await.unwrap();
        let target = target(&bmc, "admin", PASSWORD);
        Self {
            bmc,
            machine,
            fleet: Fleet::new(settings()),
            target,
        }
    }

    async fn with_faults(faults: BmcFaults) -> Self {
        Self::start(BmcConfig { faults, ..config() }).await
    }

    /// A BMC without memory of its sessions on the same address.
    async fn restart(&mut self, config: BmcConfig) {
        let address = self.bmc.address();
        let elsewhere = serve(BmcConfig::new("", ""), self.machine.clone());
        drop(std::mem::replace(&mut self.bmc, elsewhere.await.unwrap()));
        self.bmc = loop {
            // The old socket is closed by its aborted task, which may take a turn.
            let config = BmcConfig {
                address,
                ..config.clone()
            };
            match serve(config, self.machine.clone()).await {
                Ok(bmc) => break bmc,
                Err(_) => tokio::task::yield_now().await,
            }
        };
    }

    fn fault(&self, faults: BmcFaults) {
        self.bmc.set_faults(faults);
    }

    /// Every verb once, in the order of a netboot.
    async fn story(&self) {
        let (fleet, target) = (&self.fleet, &self.target);
        assert_eq!(fleet.power(target).await.unwrap(), PowerState::Off);
        let boot = fleet.boot_pxe_once(target, Firmware::Uefi).await.unwrap();
        assert_eq!(
            (boot.device, boot.efi, boot.valid),
            (BootDevice::Pxe, Kept::Yes, Kept::Yes)
        );
        let on = fleet.power_on(target).await.unwrap();
        assert_eq!(on, PowerOutcome::Changed);
        assert_eq!(fleet.power_on(target).await.unwrap(), PowerOutcome::Already);
        let cycled = fleet.power_cycle(target).await.unwrap();
        assert_eq!(cycled, PowerOutcome::Changed);
        let guid = fleet.system_guid(target).await.unwrap();
        assert_eq!(guid.in_spec_order(), UUID);
        assert_eq!(
            fleet.power_off(target).await.unwrap(),
            PowerOutcome::Changed
        );
        assert_eq!(
            self.machine.starts(),
            [Flags([0xa0, 4, 0, 0, 0]), Flags::NONE],
            "the override is for one start, and each start happened once"
        );
    }
}

#[tokio::test]
async fn every_verb_with_each_suite() {
    use acctest::bmc::Suite::{Seventeen, Three};

    for (offered, used) in [
        (vec![Three, Seventeen], Suite::Seventeen),
        (vec![Seventeen], Suite::Seventeen),
        (vec![Three], Suite::Three),
    ] {
        let mut config = config();
        config.suites = offered;
        let bench = Bench::start(config).await;
        bench.story().await;
        assert_eq!(bench.fleet.known_suite(&bench.target), Some(used));
        assert_eq!(bench.bmc.counters().logins, 1, "the session is held");
        bench.fleet.close().await;
        assert_eq!(bench.bmc.open_sessions(), 0, "and closed at the end");
    }
}

#[tokio::test]
async fn lost_replies() {
    for every in [3, 4, 5, 7] {
        let bench = Bench::with_faults(BmcFaults {
            drop_every: Some(every),
            ..BmcFaults::default()
        })
        .await;
        let (fleet, target) = (&bench.fleet, &bench.target);
        assert_eq!(fleet.power(target).await.unwrap(), PowerState::Off);
        fleet.boot_pxe_once(target, Firmware::Bios).await.unwrap();
        fleet.power_on(target).await.unwrap();
        fleet.power_off(target).await.unwrap();
        assert_eq!(
            bench.machine.starts(),
            [Flags([0x80, 4, 0, 0, 0])],
            "every {every}th lost: one start"
        );
    }
}

#[tokio::test]
async fn repeated_and_late_replies() {
    for faults in [
        BmcFaults {
            duplicate: true,
            ..BmcFaults::default()
        },
        BmcFaults {
            delay: Duration::from_millis(60),
            ..BmcFaults::default()
        },
    ] {
        Bench::with_faults(faults).await.story().await;
    }
}

#[tokio::test]
async fn a_closed_suite_0() {
    let bench = Bench::start(config()).await;
    let (fleet, target) = (&bench.fleet, &bench.target);
    let zero = fleet.probe_cipher_zero(target).await.unwrap();
    assert_eq!(zero, CipherZero::Refused);
    assert_eq!(bench.bmc.counters().logins, 0, "nothing is logged into");
}

#[tokio::test]
async fn an_operator_is_enough() {
    let mut bench = Bench::start(config()).await;
    bench.target = target(&bench.bmc, "oper", "operpass");
    bench.story().await;
}

#[tokio::test]
async fn refused_logins_are_named_and_hold_no_password() {
    let bench = Bench::start(config()).await;
    for (user, password, why) in [
        ("admin", "hunter2-hunter2", Refusal::WrongPassword),
        ("nobody", "hunter2-hunter2", Refusal::UnknownUser),
        ("viewer", "viewpass", Refusal::Privilege),
    ] {
        let target = target(&bench.bmc, user, password);
        let error = bench.fleet.power(&target).await.unwrap_err();
        assert!(
            matches!(&error, BmcError::Refused { why: seen, .. } if *seen == why),
            "{error:?}"
        );
        let texts = format!("{error} {error:?} {target:?} {target} {}", error.hint());
        assert!(!texts.contains(password), "{texts}");
        assert!(texts.contains(user), "{texts}");
    }
    assert_eq!(bench.bmc.counters().logins, 0);
    // The same BMC with the right password afterwards.
    bench.fleet.power(&bench.target).await.unwrap();
}

#[tokio::test]
async fn credentials_that_cannot_travel() {
    let bench = Bench::start(config()).await;
    let long = target(&bench.bmc, "admin", "more than twenty bytes");
    let error = bench.fleet.power(&long).await.unwrap_err();
    assert!(matches!(error, BmcError::Credentials { .. }), "{error:?}");
    assert_eq!(bench.bmc.counters().datagrams, 0);
}

#[tokio::test]
async fn a_bmc_that_refuses_every_login() {
    let bench = Bench::with_faults(BmcFaults {
        refuse_login: true,
        ..BmcFaults::default()
    })
    .await;
    let error = bench.fleet.power(&bench.target).await.unwrap_err();
    let why = Refusal::WrongPassword;
    assert!(
        matches!(error, BmcError::Refused { why: seen, .. } if seen == why),
        "{error:?}"
    );
}

#[tokio::test]
async fn silence_tells_what_was_heard_last() {
    let bench = Bench::with_faults(BmcFaults {
        silent: true,
        ..BmcFaults::default()
    })
    .await;
    let (fleet, target) = (&bench.fleet, &bench.target);
    let error = fleet.power(target).await.unwrap_err();
    assert!(
        matches!(
            error,
            BmcError::Silent {
                asked: "Open Session",
                last_answer: LastAnswer::Never,
                ..
            }
        ),
        "{error:?}"
    );

    bench.fault(BmcFaults::default());
    fleet.power(target).await.unwrap();
    bench.fault(BmcFaults {
        silent: true,
        ..BmcFaults::default()
    });
    let error = fleet.power(target).await.unwrap_err();
    assert!(
        matches!(
            error,
            BmcError::Silent {
                last_answer: LastAnswer::Heard {
                    what: "Get Chassis Status",
                    ..
                },
                ..
            }
        ),
        "{error:?}"
    );

    bench.fault(BmcFaults::default());
    fleet.power(target).await.unwrap();
    assert_eq!(bench.bmc.counters().logins, 2, "opened again after silence");
}

#[tokio::test]
async fn a_bmc_of_the_last_century() {
    let bench = Bench::with_faults(BmcFaults {
        only_ipmi15: true,
        ..BmcFaults::default()
    })
    .await;
    let error = bench.fleet.power(&bench.target).await.unwrap_err();
    assert!(matches!(error, BmcError::NoIpmi20 { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bmc_that_forgot_the_session_is_logged_into_again() {
    let mut bench = Bench::start(config()).await;
    bench.fleet.power(&bench.target).await.unwrap();
    bench.restart(config()).await;
    bench.fleet.power(&bench.target).await.unwrap();
    assert_eq!(bench.bmc.counters().logins, 1);
}

#[tokio::test]
async fn nobody_listens() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = Target {
        address: "127.0.0.1".to_owned(),
        port: socket.local_addr().unwrap().port(),
        username: "admin".to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    };
    drop(socket);
    let error = Fleet::new(settings()).power(&nobody).await.unwrap_err();
    assert!(matches!(error, BmcError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_lying_power_status() {
    let bench = Bench::with_faults(BmcFaults {
        power_lie: Some(Power::On),
        ..BmcFaults::default()
    })
    .await;
    let (fleet, target) = (&bench.fleet, &bench.target);
    // Nothing here can see through the lie: the caller's evidence is the machine's DHCP request.
    assert_eq!(fleet.power_on(target).await.unwrap(), PowerOutcome::Already);
    let error = fleet.power_off(target).await.unwrap_err();
    assert!(
        matches!(
            error,
            BmcError::PowerNotFollowing {
                wanted: PowerState::Off,
                seen: PowerState::On,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(bench.machine.starts(), []);
    // A cycle is refused by the state that is true; then it is started.
    let cycled = fleet.power_cycle(target).await.unwrap();
    assert_eq!(cycled, PowerOutcome::Changed);
    assert_eq!(bench.machine.starts(), [Flags::NONE]);
}

#[tokio::test]
async fn a_bmc_that_ignores_power_commands() {
    let bench = Bench::with_faults(BmcFaults {
        ignore_control: true,
        ..BmcFaults::default()
    })
    .await;
    let error = bench.fleet.power_on(&bench.target).await.unwrap_err();
    assert!(
        matches!(error, BmcError::PowerNotFollowing { .. }),
        "{error:?}"
    );
    assert_eq!(bench.bmc.controls(), [Control::On], "commanded once");
}

#[tokio::test]
async fn boot_flags_that_are_not_kept() {
    let bench = Bench::with_faults(BmcFaults {
        keep_device_only: true,
        ..BmcFaults::default()
    })
    .await;
    let (fleet, target) = (&bench.fleet, &bench.target);
    let read = fleet.boot_pxe_once(target, Firmware::Uefi).await.unwrap();
    assert_eq!(
        (read.device, read.efi, read.valid),
        (BootDevice::Pxe, Kept::No, Kept::No)
    );
    let read = fleet.boot_disk_once(target, Firmware::Bios).await.unwrap();
    assert_eq!((read.device, read.efi), (BootDevice::Disk, Kept::Yes));

    bench.fault(BmcFaults {
        ignore_boot_device: true,
        ..BmcFaults::default()
    });
    let error = fleet
        .boot_pxe_once(target, Firmware::Uefi)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            BmcError::BootDeviceIgnored {
                wanted: BootDevice::Pxe,
                kept: BootDevice::NoOverride,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn no_way_down_from_suite_17() {
    let three = vec![acctest::bmc::Suite::Three];
    let mut bench = Bench::start(config()).await;
    bench.fleet.power(&bench.target).await.unwrap();
    // What a person sees when the BMC's firmware, or somebody in between, suddenly refuses 17.
    bench
        .restart(BmcConfig {
            suites: three,
            ..config()
        })
        .await;
    let error = bench.fleet.power(&bench.target).await.unwrap_err();
    assert!(
        matches!(&error, BmcError::SuiteNotOffered { tried, .. } if tried[..] == [Suite::Seventeen]),
        "{error:?}"
    );
    assert_eq!(bench.bmc.counters().logins, 0);
    // The memory can be carried over a restart of bootd.
    let fleet = Fleet::new(settings());
    fleet.remember_suite(&bench.target, Suite::Seventeen);
    assert!(fleet.power(&bench.target).await.is_err());
}

#[tokio::test]
async fn all_session_slots_taken() {
    let bench = Bench::start(BmcConfig {
        sessions_max: 1,
        ..config()
    })
    .await;
    bench.fleet.power(&bench.target).await.unwrap();
    let error = Fleet::new(settings())
        .power(&bench.target)
        .await
        .unwrap_err();
    assert!(matches!(error, BmcError::NoSlot { .. }), "{error:?}");
}

/// Eats the reply of a power cycle; is off for a while after it where `dark`.
struct Forgetful {
    machine: Obedient,
    bmc: OnceLock<Bmc>,
    dark: bool,
}

impl Chassis for Forgetful {
    fn power(&self) -> Power {
        self.machine.power()
    }

    fn control(&self, control: Control, boot: Flags) {
        if control == Control::Cycle {
            self.bmc.get().unwrap().set_faults(BmcFaults {
                drop_next: 1,
                ..BmcFaults::default()
            });
            if self.dark {
                return self.machine.control(Control::Off, boot);
            }
        }
        self.machine.control(control, boot);
    }
}

async fn check_lost_cycle(dark: bool) -> (Result<PowerOutcome, BmcError>, Vec<Control>) {
    let machine = Arc::new(Forgetful {
        machine: Obedient::new(),
        bmc: OnceLock::new(),
        dark,
    });
    let bmc = serve(config(), machine.clone()).await.unwrap();
    let target = target(&bmc, "admin", PASSWORD);
    machine.bmc.set(bmc).unwrap();
    let fleet = Fleet::new(settings());
    fleet.power_on(&target).await.unwrap();
    let outcome = fleet.power_cycle(&target).await;
    (outcome, machine.bmc.get().unwrap().controls())
}

#[tokio::test]
async fn a_cycle_is_never_sent_twice() {
    let (outcome, controls) = check_lost_cycle(false).await;
    assert!(
        matches!(outcome, Err(BmcError::CycleUncertain { .. })),
        "{outcome:?}"
    );
    assert_eq!(controls, [Control::On, Control::Cycle]);

    let (outcome, controls) = check_lost_cycle(true).await;
    assert_eq!(outcome.unwrap(), PowerOutcome::Changed);
    assert_eq!(controls, [Control::On, Control::Cycle, Control::On]);
}

#[tokio::test]
async fn silent_bmcs_slow_nobody() {
    let fleet = Fleet::new(Settings::default());
    let mut live = Vec::new();
    let mut silent = Vec::new();
    for number in 0..20 {
        let bench = Bench::with_faults(BmcFaults {
            silent: number % 5 == 0,
            ..BmcFaults::default()
        })
        .await;
        if number % 5 == 0 {
            let (fleet, target) = (fleet.clone(), bench.target.clone());
            let asked = tokio::spawn(async move { fleet.power(&target).await });
            silent.push((bench, asked));
        } else {
            live.push(bench);
        }
    }
    for bench in &live {
        fleet.power(&bench.target).await.unwrap();
    }
    for (_, asked) in &silent {
        assert!(
            !asked.is_finished(),
            "a silent BMC is still being waited for"
        );
        asked.abort();
    }
}

#[tokio::test]
async fn one_session_for_many_callers() {
    let bench = Bench::start(config()).await;
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (fleet, target) = (bench.fleet.clone(), bench.target.clone());
            tokio::spawn(async move { fleet.power(&target).await })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap().unwrap(), PowerState::Off);
    }
    assert_eq!(bench.bmc.counters().logins, 1);
}

#[tokio::test]
async fn an_idle_session_is_given_back() {
    let bench = Bench::start(config()).await;
    let fleet = Fleet::new(Settings {
        hold_max: Duration::from_millis(20),
        ..settings()
    });
    fleet.power(&bench.target).await.unwrap();
    let closed = async {
        while bench.bmc.open_sessions() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed)
        .await
        .expect("the session is closed after 20 ms of idleness");
    fleet.power(&bench.target).await.unwrap();
    assert_eq!(bench.bmc.counters().logins, 2);
}
