//! How much is logged, by the environment variables that users of other providers know.
//!
//! `TF_LOG_PROVIDER_<NAME>_<SUBSYSTEM>`, else `TF_LOG_PROVIDER_<NAME>`, else `TF_LOG_PROVIDER`, else `TF_LOG`; for this crate's own events
//! `TF_LOG_SDK` comes before the last two. A subsystem is a module right below the provider's crate. The host filters once more, by the last two only.

use std::collections::BTreeMap;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// This crate's own events.
const OWN: &str = "tfplugin";

/// Levels by the origin of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    targets: &'static [&'static str],
    own: LevelFilter,
    provider: LevelFilter,
    subsystems: BTreeMap<String, LevelFilter>,
}

impl Levels {
    /// What the variables ask for. The address is the provider's, `HOST/NAMESPACE/NAME`.
    pub(super) fn of(
        address: &str,
        targets: &'static [&'static str],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let name = address.rsplit('/').next().unwrap_or_default();
        let named = format!("TF_LOG_PROVIDER_{}", variable(name));
        let below = format!("{named}_");
        let (mut all, mut provider, mut this, mut own) = (None, None, None, None);
        let mut subsystems = BTreeMap::new();
        for (key, value) in variables {
            match key.as_str() {
                "TF_LOG" => all = level(&value),
                "TF_LOG_PROVIDER" => provider = level(&value),
                "TF_LOG_SDK" => own = level(&value),
                key if key == named => this = level(&value),
                key => {
                    let said = key.strip_prefix(&below).zip(level(&value));
                    subsystems.extend(said.map(|(name, level)| (name.to_owned(), level)));
                }
            }
        }
        let provider = this.or(provider).or(all).unwrap_or(LevelFilter::WARN);
        Self {
            targets,
            own: own.unwrap_or(provider),
            provider,
            subsystems,
        }
    }

    /// Is the event wanted?
    pub(super) fn allow(&self, meta: &Metadata<'_>) -> bool {
        *meta.level() <= self.at(meta.target())
    }

    /// The most that any event may have.
    pub(super) fn most(&self) -> LevelFilter {
        let subsystems = self.subsystems.values().copied().max();
        subsystems
            .into_iter()
            .fold(self.own.max(self.provider), LevelFilter::max)
    }

    fn at(&self, target: &str) -> LevelFilter {
        if within(target, OWN).is_some() {
            return self.own;
        }
        let Some(rest) = self.targets.iter().find_map(|t| within(target, t)) else {
            // Libraries: HTTP/2 alone would flood the host.
            return self.provider.min(LevelFilter::WARN);
        };
        let subsystem = rest.split("::").next().map(variable);
        let said = subsystem.and_then(|s| self.subsystems.get(&s));
        said.copied().unwrap_or(self.provider)
    }
}

/// What of `target` is below the crate: empty for the crate itself.
fn within<'a>(target: &'a str, root: &str) -> Option<&'a str> {
    let rest = target.strip_prefix(root)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix("::")
    }
}

/// A name as part of a variable's.
fn variable(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

/// `JSON` is a format with the most that there is. A word that is no level says nothing.
fn level(word: &str) -> Option<LevelFilter> {
    match word.to_ascii_uppercase().as_str() {
        "TRACE" | "JSON" => Some(LevelFilter::TRACE),
        "DEBUG" => Some(LevelFilter::DEBUG),
        "INFO" => Some(LevelFilter::INFO),
        "WARN" => Some(LevelFilter::WARN),
        "ERROR" => Some(LevelFilter::ERROR),
        "OFF" => Some(LevelFilter::OFF),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels of the provider, of its modules `api` and `store`, of this crate and of a library.
    fn check(variables: &[(&str, &str)]) -> String {
        let variables = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let levels = Levels::of("example.com/x/my-cloud", &["my_cloud"], variables);
        let of = |target| levels.at(target).to_string();
        let all = [
            "my_cloud",
            "my_cloud::api::v1",
            "my_cloud::store",
            "tfplugin::serve",
            "h2::codec",
        ];
        format!("{} most {}", all.map(of).join(" "), levels.most())
    }

    #[test]
    fn the_most_special_variable_wins() {
        assert_eq!(check(&[]), "warn warn warn warn warn most warn");
        assert_eq!(
            check(&[("TF_LOG", "debug")]),
            "debug debug debug debug warn most debug"
        );
        let both = [("TF_LOG", "JSON"), ("TF_LOG_PROVIDER", "INFO")];
        assert_eq!(check(&both), "info info info info warn most info");
        let special = [
            ("TF_LOG_PROVIDER_MY_CLOUD_API", "TRACE"),
            ("TF_LOG_PROVIDER_MY_CLOUD", "ERROR"),
            ("TF_LOG_PROVIDER_OTHER", "TRACE"),
            ("TF_LOG_SDK", "DEBUG"),
            ("TF_LOG", "INFO"),
        ];
        assert_eq!(check(&special), "error trace error debug error most trace");
        assert_eq!(check(&[("TF_LOG", "OFF")]), "off off off off off most off");
        assert_eq!(
            check(&[("TF_LOG", "loud")]),
            "warn warn warn warn warn most warn"
        );
    }
}
