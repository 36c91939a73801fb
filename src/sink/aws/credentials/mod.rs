//! [`Provider`]: the credentials that requests are signed with, from where there are some, kept
//! until shortly before their end.
//!
//! In this order: the config, the environment, the profile, a web identity (Kubernetes), the
//! container's agent (ECS, EKS), the instance (EC2).

mod profile;
mod remote;
mod web_identity;
mod container;
mod instance;

use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use self::container::Container;
use self::instance::Instance;
pub(super) use self::profile::Profiles;
use self::profile::Way;
use self::web_identity::WebIdentity;
use super::around::Around;
use super::settings::Identity;
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::{Common, Failure};

/// Credentials are asked for anew so long before they end.
const MARGIN: Duration = Duration::from_secs(300);

/// Who asks, and the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// No secret: requests show it.
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    /// Of credentials that end.
    pub(super) session_token: Option<Secret>,
    /// None: they don't.
    pub(super) end: Option<SystemTime>,
}

/// See the module. Whoever needs credentials while another asks for them waits.
pub(super) struct Provider {
    /// What config or environment say.
    fixed: Option<Credentials>,
    profiles: Profiles,
    web_identity: Option<WebIdentity>,
    container: Option<Container>,
    instance: Option<Instance>,
    /// Where roles are given out, without a service's own address.
    sts: web_identity::Sts,
    common: Common,
    current: Mutex<Option<Credentials>>,
}

impl Provider {
    /// Looks where credentials may come from. Asks nobody yet. `region`: whose STS is asked.
    pub(super) fn new(
        identity: &Identity,
        region: &str,
        profiles: Profiles,
        around: &Around,
        common: &Common,
    ) -> Self {
        // Who names a profile means that one, whatever the environment has.
        let of_environment = || identity.profile.is_none().then(|| of_environment(around))?;
        Self {
            fixed: of_config(identity).or_else(of_environment),
            profiles,
            web_identity: WebIdentity::of(around),
            container: Container::of(around),
            instance: Instance::of(around),
            sts: web_identity::Sts::new(region, around),
            common: *common,
            current: Mutex::new(None),
        }
    }

    /// Returns credentials: those at hand, or new ones where there are none, they are at their
    /// end, or they are those that were `refused`.
    ///
    /// Cancel safety: what was asked for and not heard is asked for again.
    ///
    /// # Errors
    /// There are none, or who has them does not answer.
    pub(super) async fn get(&self, refused: Option<&Credentials>) -> Result<Credentials, Failure> {
        let mut current = self.current.lock().await;
        let now = SystemTime::now();
        let last = current.as_ref().filter(|last| Some(*last) != refused);
        if let Some(last) = last.filter(|last| !last.ends_within(MARGIN, now)) {
            return Ok(last.clone());
        }
        match self.load().await {
            Ok(new) => {
                *current = Some(new.clone());
                Ok(new)
            }
            // What still holds is good enough while others can't be had.
            Err(failure) => match last.filter(|last| !last.ends_within(Duration::ZERO, now)) {
                Some(last) => Ok(last.clone()),
                None => Err(failure),
            },
        }
    }

    async fn load(&self) -> Result<Credentials, Failure> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let setup = |why: String| Failure::new(Category::Setup, format!("no credentials: {why}"));
        let (name, profile) = (&self.profiles.name, self.profiles.read());
        match profile.as_ref().and_then(profile::Profile::way) {
            Some(Way::Keys(keys)) => return Ok(keys),
            Some(Way::WebIdentity(web)) => return self.sts.assume(&web, &self.common).await,
            Some(Way::Other(setting)) => {
                let why = format!("profile `{name}` has `{setting}`, which walgate does not know");
                return Err(setup(why));
            }
            None if profile.is_none() && self.profiles.is_named => {
                return Err(setup(format!("there is no profile `{name}`")));
            }
            None => {}
        }
        if let Some(web) = &self.web_identity {
            return self.sts.assume(web, &self.common).await;
        }
        if let Some(container) = &self.container {
            return container.ask(&self.common).await;
        }
        let nowhere = "set access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY, or a profile";
        match &self.instance {
            None => Err(setup(nowhere.to_owned())),
            Some(instance) => instance.ask(&self.common).await.map_err(|failure| Failure {
                category: Category::Setup,
                message: format!("{}; {nowhere}", failure.message),
                ..failure
            }),
        }
    }
}

impl Credentials {
    fn ends_within(&self, margin: Duration, now: SystemTime) -> bool {
        self.end.is_some_and(|end| end < now + margin)
    }

    /// Blots out what must not show.
    pub(super) fn hide_in(&self, text: &str) -> String {
        let secrets = std::iter::once(&self.secret_access_key).chain(&self.session_token);
        let secrets = secrets.map(Secret::expose).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

fn of_config(identity: &Identity) -> Option<Credentials> {
    Some(Credentials {
        access_key_id: identity.access_key_id.as_ref()?.expose().to_owned(),
        secret_access_key: identity.secret_access_key.clone()?,
        session_token: identity.session_token.clone(),
        end: None,
    })
}

fn of_environment(around: &Around) -> Option<Credentials> {
    Some(Credentials {
        access_key_id: around.variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(around.variable("AWS_SECRET_ACCESS_KEY")?),
        session_token: around.variable("AWS_SESSION_TOKEN").map(Secret::new),
        end: None,
    })
}
