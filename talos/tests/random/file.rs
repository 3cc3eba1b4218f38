//! Texts of files that are no configs: secrets, talosconfigs, schematics, versions.

use serde_json::{Map, Value as Json, json};

use super::{Corpus, Random};

impl Random {
    /// A file of secrets: a whole one, one without some part, or a damaged one.
    pub(super) fn secrets_file(&mut self, corpus: &Corpus) -> String {
        let text = self.one_of(&corpus.bundles).clone();
        match self.below(6) {
            0 => text,
            1 | 2 => {
                let mut lines: Vec<&str> = text.lines().collect();
                let at = self.below(lines.len());
                lines.remove(at);
                lines.join("\n") + "\n"
            }
            3 => {
                let mut lines: Vec<&str> = text.lines().collect();
                let (a, b) = (self.below(lines.len()), self.below(lines.len()));
                lines.swap(a, b);
                lines.join("\n") + "\n"
            }
            4 => {
                // Another value for one key.
                let lines: Vec<&str> = text.lines().collect();
                let at = self.below(lines.len());
                let value = self.one_of(&["", "null", "QQ==", "5", "[]", "{}", "'******'", "a.b"]);
                let line = |(index, line): (usize, &&str)| match line.split_once(": ") {
                    Some((key, _)) if index == at => format!("{key}: {value}"),
                    _ => (*line).to_owned(),
                };
                let all: Vec<String> = lines.iter().enumerate().map(line).collect();
                all.join("\n") + "\n"
            }
            _ => self.damaged(&text),
        }
    }

    pub(super) fn talosconfig(&mut self) -> String {
        let mut contexts = Map::new();
        for _ in 0..self.below(4) {
            let mut context = Map::new();
            for (key, percent) in [
                ("target", 20),
                ("endpoints", 80),
                ("nodes", 40),
                ("ca", 80),
                ("crt", 80),
                ("key", 80),
                ("auth", 15),
                ("cluster", 15),
                ("nope", 5),
            ] {
                if self.chance(percent) {
                    let value = match key {
                        "endpoints" | "nodes" => {
                            let count = self.below(4);
                            (0..count).map(|_| Json::from(self.text())).collect()
                        }
                        "auth" => match self.chance(50) {
                            true => json!({"basic": {"username": self.text(), "password": "p"}}),
                            false => json!({"siderov1": {"identity": self.text()}}),
                        },
                        "ca" | "crt" | "key" => "QQ==".into(),
                        _ => self.text().into(),
                    };
                    context.insert(key.to_owned(), value);
                }
            }
            let names = ["a", "b10", "b2", "admin@demo"];
            let name = match self.chance(80) {
                true => (*self.one_of(&names)).to_owned(),
                false => self.key(),
            };
            contexts.insert(name, Json::Object(context));
        }
        let file = json!({"context": *self.one_of(&["a", "", "demo"]), "contexts": contexts});
        self.written(&file)
    }

    pub(super) fn schematic(&mut self) -> String {
        let mut out = Map::new();
        let mut customization = Map::new();
        if self.chance(60) {
            let count = self.below(4);
            let all: Json = (0..count).map(|_| Json::from(self.text())).collect();
            customization.insert("extraKernelArgs".into(), all);
        }
        if self.chance(60) {
            let all = [
                "siderolabs/qemu-guest-agent",
                "siderolabs/iscsi-tools",
                "siderolabs/i915",
            ];
            let count = self.below(4);
            let names: Json = (0..count).map(|_| Json::from(*self.one_of(&all))).collect();
            customization.insert(
                "systemExtensions".into(),
                json!({"officialExtensions": names}),
            );
        }
        if self.chance(30) {
            let count = self.below(3);
            let all: Json = (0..count)
                .map(|_| json!({"key": self.below(300), "value": self.text()}))
                .collect();
            customization.insert("meta".into(), all);
        }
        if self.chance(15) {
            let words = ["dual-boot", "sd-boot", "grub", "auto", "nope"];
            customization.insert("bootloader".into(), (*self.one_of(&words)).into());
        }
        if self.chance(15) {
            let value = self.chance(70);
            let secure = json!({"includeWellKnownCertificates": value});
            customization.insert("secureboot".into(), secure);
        }
        if self.chance(80) {
            out.insert("customization".into(), Json::Object(customization));
        }
        if self.chance(25) {
            let name = *self.one_of(&["rpi_generic", ""]);
            let mut overlay = json!({"image": "siderolabs/sbc-raspberrypi", "name": name});
            if self.chance(50) {
                overlay["options"] = self.free_form(1);
            }
            out.insert("overlay".into(), overlay);
        }
        if self.chance(10) {
            out.insert("owner".into(), self.text().into());
        }
        self.written(&Json::Object(out))
    }

    /// A contract that has a layout here, or is none for anybody: those before 1.6 are not offered.
    pub(super) fn contract(&mut self) -> String {
        let version = self.version();
        match version.strip_prefix('v').and_then(|v| v.split_once('.')) {
            Some(("0", _) | ("1", "0" | "1" | "2" | "3" | "4" | "5")) => "v1.6".to_owned(),
            Some(_) | None => version,
        }
    }

    pub(super) fn version(&mut self) -> String {
        let all = [
            "1.6",
            "v1.6.4",
            "v1.13.9",
            "1.20",
            "v2.0",
            "v1",
            "",
            "latest",
            "v1.6-x",
            "V1.6",
            "v1.06",
            "1.6.",
            "v1.10.0-beta.1",
            "vv1.6",
            " v1.6",
        ];
        match self.chance(60) {
            true => (*self.one_of(&all)).to_owned(),
            false => format!("v{}.{}", self.below(3), self.below(30)),
        }
    }
}
