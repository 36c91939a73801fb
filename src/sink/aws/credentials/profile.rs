//! [`Profiles`]: the files of the AWS command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Credentials, WebIdentity};
use crate::secret::Secret;
use crate::sink::aws::around::Around;

/// Where profiles are, and which of them is meant.
#[derive(Debug)]
pub(in crate::sink::aws) struct Profiles {
    /// Keys: `[NAME]`.
    credentials: Option<PathBuf>,
    /// All else: `[profile NAME]`, and `[default]`.
    config: Option<PathBuf>,
    pub(super) name: String,
    /// Whether somebody asked for it by its name.
    pub(super) is_named: bool,
}

/// What both files say of a profile.
pub(in crate::sink::aws) struct Profile(BTreeMap<String, String>);

/// How a profile gets its credentials.
pub(super) enum Way {
    /// They stand there.
    Keys(Credentials),
    /// By a token of somebody else.
    WebIdentity(WebIdentity),
    /// In a way that walgate does not know; the setting.
    Other(&'static str),
}

impl Profiles {
    pub(in crate::sink::aws) fn new(name: Option<&str>, around: &Around) -> Self {
        let named = name.map(str::to_owned).or_else(|| around.variable("AWS_PROFILE"));
        Self {
            credentials: around.file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: around.file("AWS_CONFIG_FILE", "config"),
            is_named: named.is_some(),
            name: named.unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// Reads the profile; none where neither file has it. Small files on this machine: nobody
    /// waits for them.
    pub(in crate::sink::aws) fn read(&self) -> Option<Profile> {
        let text = |path: &Option<PathBuf>| {
            path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        Profile::of(&text(&self.credentials), &text(&self.config), &self.name)
    }
}

impl Profile {
    fn of(credentials: &str, config: &str, name: &str) -> Option<Self> {
        let of_config = section(config, |section| match section.strip_prefix("profile ") {
            Some(rest) => rest.trim().trim_matches('"') == name,
            None => section == "default" && name == "default",
        });
        let of_credentials = section(credentials, |section| section == name);
        if of_config.is_none() && of_credentials.is_none() {
            return None;
        }
        let mut values = of_config.unwrap_or_default();
        values.extend(of_credentials.unwrap_or_default());
        Some(Self(values))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(in crate::sink::aws) fn region(&self) -> Option<&str> {
        self.value("region")
    }

    /// Returns how it gets its credentials; none where it says nothing of that.
    pub(super) fn way(&self) -> Option<Way> {
        let keys = (self.value("aws_access_key_id"), self.value("aws_secret_access_key"));
        if let (Some(id), Some(secret)) = keys {
            return Some(Way::Keys(Credentials {
                access_key_id: id.to_owned(),
                secret_access_key: Secret::new(secret.to_owned()),
                session_token: self
                    .value("aws_session_token")
                    .map(|token| Secret::new(token.to_owned())),
                end: None,
            }));
        }
        let web = (self.value("web_identity_token_file"), self.value("role_arn"));
        if let (Some(file), Some(role)) = web {
            return Some(Way::WebIdentity(WebIdentity {
                token_file: file.into(),
                role_arn: role.to_owned(),
                session: self.value("role_session_name").map(str::to_owned),
            }));
        }
        let others = ["sso_session", "sso_start_url", "credential_process", "source_profile"];
        let others = others.into_iter().chain(["credential_source", "login_session"]);
        others.into_iter().find(|name| self.value(name).is_some()).map(Way::Other)
    }
}

/// Returns the values of the section that is meant.
fn section(text: &str, is_it: impl Fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_within = false;
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_within = is_it(name.trim());
            if is_within {
                found.get_or_insert_default();
            }
        } else if let (true, false, Some((name, value)), Some(values)) =
            (is_within, is_nested, line.split_once('='), &mut found)
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            values.insert(name.trim().to_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s1\n\n\
        # theirs\n[other]\naws_access_key_id=AKIA2\naws_secret_access_key = s2 # old\n\
        aws_session_token = t2\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile other]\nregion=us-west-2\ns3 =\n  \
        region = nested\n[profile web]\nrole_arn = arn:aws:iam::1:role/r\n\
        web_identity_token_file = /token\n[profile sso]\nsso_session = x\n[profile none]\n\
        output = json\n";

    fn profile(name: &str) -> Option<Profile> {
        Profile::of(CREDENTIALS, CONFIG, name)
    }

    #[test]
    fn both_files_say_what_a_profile_is() {
        for (name, region, id, token) in [
            ("default", "eu-central-1", "AKIA1", None),
            ("other", "us-west-2", "AKIA2", Some(Secret::new("t2".to_owned()))),
        ] {
            let profile = profile(name).unwrap();
            assert_eq!(profile.region(), Some(region));
            let Some(Way::Keys(keys)) = profile.way() else { panic!("{name} has no keys") };
            assert_eq!((keys.access_key_id.as_str(), keys.session_token), (id, token));
        }
    }

    #[test]
    fn other_ways_are_known_by_name() {
        let way = |name: &str| profile(name).unwrap().way();
        let Some(Way::WebIdentity(web)) = way("web") else { panic!("no web identity") };
        assert_eq!(web.role_arn, "arn:aws:iam::1:role/r");
        assert!(matches!(way("sso"), Some(Way::Other("sso_session"))));
        assert!(way("none").is_none() && profile("nobody").is_none());
    }
}
