//! iPXE's script language, a written subset: dhcp, ifopen, set, isset, iseq, goto, chain, kernel, initrd, imgfree, sleep, exit, boot,
//! echo, `||`, `&&`, labels, comments, `${…}`. Every other verb ends the boot loudly.
//!
//! The interpreter does no I/O: it asks its [`Loader`]. Behaves as the 2019 builds do: under UEFI a kernel sees only those initial
//! RAM disks that `initrd=` on its command line names.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a script needs from outside.
pub trait Loader {
    /// Fetches a URL. The error is for people.
    fn fetch(&mut self, url: &str) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
    /// Configures the network again; answers the new settings.
    fn dhcp(&mut self) -> impl Future<Output = Result<Settings, String>> + Send;
    /// Waits.
    fn sleep(&mut self, how_long: Duration) -> impl Future<Output = ()> + Send;
    /// A line on the console.
    fn print(&mut self, line: &str);
}

/// iPXE settings by name, such as `net0/mac` and `uuid`.
pub type Settings = BTreeMap<String, String>;

/// What a script led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A kernel starts.
    Boot(Kernel),
    /// Back to the firmware, with this status; zero means success.
    Exit(u8),
}

/// A kernel as it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its image.
    pub image: Vec<u8>,
    /// Its command line.
    pub command_line: String,
    /// The initial RAM disks that it sees, concatenated.
    pub initrd: Vec<u8>,
}

/// Why a script ended without either. A person has to look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Not a script.
    #[error("{0}: not an iPXE script (it must begin with #!ipxe)")]
    NoScript(String),
    /// Outside the written subset.
    #[error(
        "{script}: line {line}: the verb {verb:?} is outside of the subset that every iPXE has"
    )]
    Verb {
        /// Where.
        script: String,
        /// Line number from 1.
        line: usize,
        /// What.
        verb: String,
    },
    /// Wrong use of a verb.
    #[error("{script}: line {line}: {what}")]
    Usage {
        /// Where.
        script: String,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It runs in circles.
    #[error("{0}: more than 10000 commands")]
    Endless(String),
}

/// Which firmware iPXE runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// An initial RAM disk must be named by `initrd=`.
    Efi,
    /// All are passed.
    Bios,
}

const COMMANDS_MAX: u32 = 10_000;
const CHAIN_DEPTH_MAX: u32 = 16;

/// Runs the script at `url`.
///
/// # Errors
/// See [`ScriptError`]. A failed download is no error of the script: it can be caught by `||`, and ends the script otherwise.
pub async fn run<L: Loader + Send>(
    loader: &mut L,
    settings: Settings,
    platform: Platform,
    url: &str,
) -> Result<Ending, ScriptError> {
    let mut machine = Interpreter {
        loader,
        settings,
        platform,
        images: Images::default(),
        commands: 0,
        base: String::new(),
    };
    let mut next = url.to_owned();
    let mut text = match machine.loader.fetch(&next).await {
        Ok(text) => text,
        Err(why) => {
            machine.loader.print(&why);
            return Ok(Ending::Exit(1));
        }
    };
    for _ in 0..CHAIN_DEPTH_MAX {
        machine.base.clone_from(&next);
        match machine.script(&plain(&next), &text).await? {
            Step::Chain(to, script) => (next, text) = (to, script),
            Step::Exit(status) => return Ok(Ending::Exit(status)),
            Step::Boot(kernel) => return Ok(Ending::Boot(kernel)),
            Step::Good | Step::Failed | Step::Goto(_) => return Ok(Ending::Exit(1)),
        }
    }
    Err(ScriptError::Endless(plain(url)))
}

#[derive(Default)]
struct Images {
    kernel: Option<(Vec<u8>, String)>,
    initrds: Vec<(String, Vec<u8>)>,
}

enum Step {
    Good,
    Failed,
    Goto(usize),
    Chain(String, Vec<u8>),
    Exit(u8),
    Boot(Kernel),
}

struct Interpreter<'a, L> {
    loader: &'a mut L,
    settings: Settings,
    platform: Platform,
    images: Images,
    commands: u32,
    base: String,
}

/// Where in which script.
#[derive(Clone, Copy)]
struct At<'a> {
    script: &'a str,
    lines: &'a [&'a str],
    line: usize,
}

impl At<'_> {
    fn usage(self, what: impl Into<String>) -> ScriptError {
        ScriptError::Usage {
            script: self.script.to_owned(),
            line: self.line + 1,
            what: what.into(),
        }
    }
}

impl<L: Loader + Send> Interpreter<'_, L> {
    async fn script(&mut self, name: &str, text: &[u8]) -> Result<Step, ScriptError> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.starts_with("#!ipxe"))
            .ok_or_else(|| ScriptError::NoScript(name.to_owned()))?;
        let lines: Vec<&str> = text.lines().collect();
        let mut line = 0;
        while line < lines.len() {
            let at = At {
                script: name,
                lines: &lines,
                line,
            };
            line = match self.line(at).await? {
                Step::Good => line + 1,
                Step::Goto(to) => to,
                Step::Failed => return Ok(Step::Exit(1)),
                end @ (Step::Chain(..) | Step::Exit(_) | Step::Boot(_)) => return Ok(end),
            };
        }
        Ok(Step::Exit(0))
    }

    /// One line: commands joined by `||` and `&&`, from left to right.
    async fn line(&mut self, at: At<'_>) -> Result<Step, ScriptError> {
        let text = self.expand(at.lines[at.line]);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let Some(first) = words.first() else {
            return Ok(Step::Good);
        };
        if first.starts_with(['#', ':']) {
            return Ok(Step::Good);
        }
        let mut step = Step::Good;
        let mut wanted = true;
        let mut rest = words.as_slice();
        loop {
            let end = rest
                .iter()
                .position(|word| matches!(*word, "||" | "&&"))
                .unwrap_or(rest.len());
            if wanted {
                step = self.command(at, &rest[..end]).await?;
                if !matches!(step, Step::Good | Step::Failed) {
                    return Ok(step);
                }
            }
            let Some(operator) = rest.get(end) else {
                return Ok(step);
            };
            wanted = (*operator == "||") == matches!(step, Step::Failed);
            rest = &rest[end + 1..];
        }
    }

    async fn command(&mut self, at: At<'_>, words: &[&str]) -> Result<Step, ScriptError> {
        self.commands += 1;
        if self.commands > COMMANDS_MAX {
            return Err(ScriptError::Endless(at.script.to_owned()));
        }
        let Some((verb, arguments)) = words.split_first() else {
            return Ok(Step::Good);
        };
        match (*verb, arguments) {
            ("echo", words) => {
                self.loader.print(&words.join(" "));
                Ok(Step::Good)
            }
            ("imgfree", []) => {
                self.images = Images::default();
                Ok(Step::Good)
            }
            ("ifopen", _) => Ok(Step::Good),
            ("dhcp", _) => Ok(match self.loader.dhcp().await {
                Ok(settings) => {
                    self.settings.extend(settings);
                    Step::Good
                }
                Err(why) => self.failed(&why),
            }),
            ("set", [name, value @ ..]) => {
                let value = value.join(" ");
                self.settings.insert((*name).to_owned(), value);
                Ok(Step::Good)
            }
            ("isset", [value]) => Ok(truth(!value.is_empty())),
            ("isset", []) => Ok(Step::Failed),
            ("iseq", [a, b]) => Ok(truth(a == b)),
            // An empty operand vanished when the line was split.
            ("iseq", [_] | []) => Ok(truth(arguments.is_empty())),
            ("goto", [label]) => {
                let mark = format!(":{label}");
                match at.lines.iter().position(|line| line.trim() == mark) {
                    Some(to) => Ok(Step::Goto(to)),
                    None => Err(at.usage(format!("there is no label {mark}"))),
                }
            }
            ("sleep", [seconds]) => {
                let seconds = seconds
                    .parse()
                    .map_err(|_| at.usage("sleep takes whole seconds"))?;
                self.loader.sleep(Duration::from_secs(seconds)).await;
                Ok(Step::Good)
            }
            ("exit", []) => Ok(Step::Exit(0)),
            ("exit", [status]) => match status.parse() {
                Ok(status) => Ok(Step::Exit(status)),
                Err(_) => Err(at.usage("exit takes a number")),
            },
            ("chain" | "kernel" | "initrd", words) => self.load(at, verb, words).await,
            ("boot", []) => Ok(self.boot()),
            ("imgfree" | "set" | "isset" | "iseq" | "goto" | "sleep" | "exit" | "boot", _) => {
                Err(at.usage(format!(
                    "the subset has no such use of {verb}: {}",
                    words.join(" ")
                )))
            }
            (verb, _) => Err(ScriptError::Verb {
                script: at.script.to_owned(),
                line: at.line + 1,
                verb: verb.to_owned(),
            }),
        }
    }

    async fn load(&mut self, at: At<'_>, verb: &str, words: &[&str]) -> Result<Step, ScriptError> {
        let mut name = None;
        let mut words = words;
        while let [option, rest @ ..] = words {
            match (*option, rest) {
                ("--name" | "-n", [value, rest @ ..]) => {
                    name = Some((*value).to_owned());
                    words = rest;
                }
                ("--autofree" | "-a" | "--replace" | "-r", rest) => words = rest,
                (option, _) if option.starts_with('-') => {
                    return Err(at.usage(format!("the subset has no option {option}")));
                }
                _ => break,
            }
        }
        let Some((url, arguments)) = words.split_first() else {
            return Err(at.usage(format!("{verb} without a URL")));
        };
        let url = super::super::http::Url::parse(&self.base)
            .map_or_else(|_| (*url).to_owned(), |base| base.join(url));
        let image = match self.loader.fetch(&url).await {
            Ok(image) => image,
            Err(why) => return Ok(self.failed(&why)),
        };
        if verb == "chain" {
            return Ok(Step::Chain(url, image));
        }
        if verb == "kernel" {
            self.images.kernel = Some((image, arguments.join(" ")));
        } else {
            let last = plain(&url);
            let last = last.rsplit('/').next().unwrap_or(&last).to_owned();
            self.images.initrds.push((name.unwrap_or(last), image));
        }
        Ok(Step::Good)
    }

    fn boot(&mut self) -> Step {
        let Some((image, command_line)) = self.images.kernel.take() else {
            return self.failed("boot: no image");
        };
        let named: Vec<&str> = command_line
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix("initrd="))
            .collect();
        let mut initrd = Vec::new();
        for (name, content) in self.images.initrds.drain(..) {
            if self.platform == Platform::Bios || named.contains(&name.as_str()) {
                initrd.resize(initrd.len().next_multiple_of(4), 0);
                initrd.extend(content);
            }
        }
        Step::Boot(Kernel {
            image,
            command_line,
            initrd,
        })
    }

    fn failed(&mut self, why: &str) -> Step {
        self.loader.print(why);
        Step::Failed
    }

    /// Replaces `${name}`, from the inside out; unknown names become nothing.
    fn expand(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for _ in 0..100 {
            let Some(start) = line.rfind("${") else {
                break;
            };
            let Some(length) = line[start..].find('}') else {
                break;
            };
            let name = &line[start + 2..start + length];
            let value = self.setting(name);
            line.replace_range(start..=start + length, &value);
        }
        line
    }

    fn setting(&self, name: &str) -> String {
        if let Some(value) = self.settings.get(name) {
            return value.clone();
        }
        let (bare, kind) = name.split_once(':').unwrap_or((name, ""));
        let find = |name: &str| {
            self.settings
                .get(name)
                .or_else(|| self.settings.get(&format!("net0/{name}")))
        };
        let Some(value) = find(bare) else {
            return String::new();
        };
        match kind {
            "hexhyp" => value.replace(':', "-"),
            "hexraw" => value.replace([':', '-'], ""),
            "uristring" => value.replace(':', "%3A").replace(' ', "%20"),
            _ => value.clone(),
        }
    }
}

fn truth(holds: bool) -> Step {
    if holds { Step::Good } else { Step::Failed }
}

fn plain(url: &str) -> String {
    super::super::http::without_query(url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Files {
        files: BTreeMap<&'static str, &'static str>,
        console: Vec<String>,
        slept: u64,
    }

    impl Loader for Files {
        async fn fetch(&mut self, url: &str) -> Result<Vec<u8>, String> {
            match self.files.get(url) {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(format!("{url}: 404")),
            }
        }
        async fn dhcp(&mut self) -> Result<Settings, String> {
            Ok(Settings::from([(
                "net0/ip".to_owned(),
                "127.9.0.10".to_owned(),
            )]))
        }
        async fn sleep(&mut self, how_long: Duration) {
            self.slept += how_long.as_secs();
        }
        fn print(&mut self, line: &str) {
            self.console.push(line.to_owned());
        }
    }

    /// Runs a script over a few files; answers the ending as text.
    async fn check(platform: Platform, script: &'static str, want: &str) {
        let mut files = Files {
            files: BTreeMap::from([
                ("http://h/s", script),
                ("http://h/k", "KERNEL"),
                ("http://h/d/a.img", "AA"),
                ("http://h/d/b.img", "B"),
                ("http://h/next", "#!ipxe\nexit 7"),
            ]),
            ..Files::default()
        };
        let settings = Settings::from([
            ("net0/mac".to_owned(), "52:54:00:01:02:03".to_owned()),
            ("uuid".to_owned(), "u-u".to_owned()),
        ]);
        let got = match run(&mut files, settings, platform, "http://h/s").await {
            Ok(Ending::Exit(status)) => format!("exit {status}"),
            Ok(Ending::Boot(kernel)) => format!(
                "boot {} [{}] {}",
                String::from_utf8_lossy(&kernel.image),
                kernel.command_line,
                String::from_utf8_lossy(&kernel.initrd).replace('\0', ".")
            ),
            Err(error) => error.to_string(),
        };
        let got = files
            .console
            .iter()
            .map(|l| format!("{l}; "))
            .collect::<String>()
            + &got;
        assert_eq!(got, want, "{script}");
    }

    #[tokio::test]
    async fn scripts() {
        use Platform::{Bios, Efi};
        let k = "#!ipxe\nkernel k initrd=a.img x=${net0/mac:hexhyp} || goto failed\ninitrd d/a.img\ninitrd d/b.img\nboot\n:failed\nexit 3";
        check(Efi, k, "boot KERNEL [initrd=a.img x=52-54-00-01-02-03] AA").await;
        check(
            Bios,
            k,
            "boot KERNEL [initrd=a.img x=52-54-00-01-02-03] AA..B",
        )
        .await;
        check(
            Efi,
            "#!ipxe\nkernel http://h/none || goto failed\nboot\n:failed\nsleep 5\nexit 1",
            "http://h/none: 404; exit 1",
        )
        .await;
        check(Efi, "#!ipxe\nchain http://h/next || exit 1", "exit 7").await;
        check(
            Efi,
            "#!ipxe\nchain http://h/none || exit 2",
            "http://h/none: 404; exit 2",
        )
        .await;
        check(Efi, "#!ipxe\nexit", "exit 0").await;
        check(Efi, "#!ipxe\n# only a comment\n", "exit 0").await;
        check(
            Efi,
            "#!ipxe\nset a ${uuid}-${mac}\necho ${a}${nothing}\niseq ${a} b && exit 4 || exit 5",
            "u-u-52:54:00:01:02:03; exit 5",
        )
        .await;
        check(
            Efi,
            "#!ipxe\nisset ${nothing} || goto none\nexit 1\n:none\nisset ${uuid} && exit 0",
            "exit 0",
        )
        .await;
        // The whole line is expanded before its first command runs.
        check(Efi, "#!ipxe\nifopen net0\ndhcp net0 && echo <${net0/ip}>\necho ${ip}\nset n uuid\necho ${${n}}", "<>; 127.9.0.10; u-u; exit 0").await;
        check(Efi, "#!ipxe\nboot", "boot: no image; exit 1").await;
        check(
            Efi,
            "#!ipxe\n\nmenu Choose",
            "http://h/s: line 3: the verb \"menu\" is outside of the subset that every iPXE has",
        )
        .await;
        check(
            Efi,
            "#!ipxe\ngoto nowhere",
            "http://h/s: line 2: there is no label :nowhere",
        )
        .await;
        check(
            Efi,
            "#!ipxe\n:a\ngoto a",
            "http://h/s: more than 10000 commands",
        )
        .await;
        check(
            Efi,
            "<html>",
            "http://h/s: not an iPXE script (it must begin with #!ipxe)",
        )
        .await;
    }
}
