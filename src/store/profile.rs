//! Credentials of an AWS profile: what `~/.aws/credentials` and `~/.aws/config` hold, as other tools read them.
//!
//! The environment comes before: with `AWS_ACCESS_KEY_ID` no profile is looked at. Profiles that get their credentials
//! elsewhere (a role, single sign-on, a process) are told apart, so that nobody is taken for somebody else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// What a profile says. Never printed: it holds secrets.
#[derive(Default, PartialEq)]
pub(super) struct Profile {
    /// Access key id and secret access key.
    pub keys: Option<(String, String)>,
    pub session_token: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

/// How a profile may get credentials other than by keys.
const ELSEWHERE: [&str; 5] = ["role_arn", "sso_session", "sso_start_url", "credential_process", "login_session"];

impl Profile {
    /// The profile that the environment names, or `default`. Empty, when none is named and there is no default one.
    ///
    /// # Errors
    /// `Usage` when the named profile is not there, or has no keys.
    pub(super) fn from_env() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let file = |name: &str, default: &str| {
            let home = || variable("HOME").map(|home| PathBuf::from(home).join(".aws").join(default));
            variable(name).map(PathBuf::from).or_else(home)
        };
        let read = |path: &Option<PathBuf>| {
            path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = file("AWS_CONFIG_FILE", "config");
        let name = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        Self::find(name.as_deref(), &read(&credentials), &read(&config))
    }

    /// The profile `name` of the texts of the two files; `None`: the default one, if there is one.
    fn find(name: Option<&str>, credentials: &str, config: &str) -> Result<Self> {
        let wanted = name.unwrap_or("default");
        let in_credentials = section(credentials, |title| title == wanted);
        let in_config = section(config, |title| match title.strip_prefix("profile ") {
            Some(title) => title.trim().trim_matches('"') == wanted,
            None => title == "default" && wanted == "default",
        });
        if let (Some(name), None, None) = (name, &in_credentials, &in_config) {
            return Err(Error::usage(format!("there is no AWS profile {name} in ~/.aws/credentials or ~/.aws/config")));
        }
        let (in_credentials, in_config) = (in_credentials.unwrap_or_default(), in_config.unwrap_or_default());
        let value = |key: &str| in_credentials.get(key).or_else(|| in_config.get(key)).map(|value| (*value).to_owned());
        let keys = value("aws_access_key_id").zip(value("aws_secret_access_key"));
        let elsewhere = ELSEWHERE.into_iter().find(|key| value(key).is_some());
        match (name, &keys, elsewhere) {
            // By this, another identity is meant than that of the keys.
            (Some(name), _, Some(key)) => {
                return Err(Error::usage(format!(
                    "the AWS profile {name} gets its credentials by {key}, which is not followed here; put them into the \
                     environment: eval \"$(aws configure export-credentials --profile {name} --format env)\""
                )));
            }
            (Some(name), None, None) if value("aws_access_key_id").is_some() => {
                return Err(Error::usage(format!("the AWS profile {name} has no aws_secret_access_key")));
            }
            _ => {}
        }
        Ok(Self {
            keys: keys.filter(|_| elsewhere.is_none()),
            session_token: value("aws_session_token"),
            region: value("region"),
            endpoint_url: value("endpoint_url"),
        })
    }
}

/// The members of the sections whose title is `wanted`; `None` when there is no such section.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<BTreeMap<&str, &str>> {
    let (mut found, mut is_wanted) = (None, false);
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || is_nested {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            is_wanted = wanted(title.0.trim());
            if is_wanted {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if let (true, Some((key, value)), Some(found)) = (is_wanted, line.split_once('='), &mut found) {
            found.insert(key.trim(), value.trim());
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key=S=1\n\n# of the other\n\
        [other]\naws_access_key_id = B\naws_secret_access_key = T\naws_session_token = U\n[half]\naws_access_key_id = C\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n  region = nested\n[profile other]\nregion = us-east-2\n\
        endpoint_url = http://127.0.0.1:9\n[profile \"by role\"]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n\
        [services x]\nregion = none\n";

    fn found(name: Option<&str>) -> Profile {
        Profile::find(name, CREDENTIALS, CONFIG).ok().unwrap()
    }

    fn error(name: &str) -> String {
        Profile::find(Some(name), CREDENTIALS, CONFIG).err().unwrap().to_string()
    }

    #[test]
    fn a_profile_is_what_both_files_say_of_it() {
        let text = |text: &str| Some(text.to_owned());
        let default = Profile { keys: text("A").zip(text("S=1")), region: text("eu-west-1"), ..Profile::default() };
        assert!(found(None) == default && found(Some("default")) == default);
        let other = Profile {
            keys: text("B").zip(text("T")),
            session_token: text("U"),
            region: text("us-east-2"),
            endpoint_url: text("http://127.0.0.1:9"),
        };
        assert!(found(Some("other")) == other);
        assert!(Profile::find(None, "", "").ok().unwrap() == Profile::default());
    }

    #[test]
    fn a_profile_that_is_not_there_or_has_no_keys_of_its_own_is_refused_by_name() {
        assert!(error("gone").contains("no AWS profile gone"));
        assert!(error("services x").contains("no AWS profile"));
        assert!(error("by role").contains("role_arn") && error("by role").contains("export-credentials"));
        assert!(error("half").contains("half has no aws_secret_access_key"));
    }
}
