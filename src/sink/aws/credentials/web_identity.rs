//! Credentials of a role for a token of somebody else: what a pod of Kubernetes has.

use std::path::PathBuf;

use url::Url;
use url::form_urlencoded::Serializer;

use super::Credentials;
use super::remote::{Remote, failed, time};
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::aws::around::Around;
use crate::sink::aws::code::{Meaning, Said};
use crate::sink::aws::{place, xml};
use crate::sink::{Common, Failure};

/// Which role, and the file with the token, which others renew.
pub(in crate::sink::aws) struct WebIdentity {
    pub(super) token_file: PathBuf,
    pub(super) role_arn: String,
    /// What the session is called in logs; none: `walgate`.
    pub(super) session: Option<String>,
}

impl WebIdentity {
    pub(super) fn of(around: &Around) -> Option<Self> {
        Some(Self {
            token_file: around.variable("AWS_WEB_IDENTITY_TOKEN_FILE")?.into(),
            role_arn: around.variable("AWS_ROLE_ARN")?,
            session: around.variable("AWS_ROLE_SESSION_NAME"),
        })
    }
}

/// Where roles are given out.
pub(super) struct Sts {
    endpoint: String,
}

impl Sts {
    pub(super) fn new(region: &str, around: &Around) -> Self {
        let named = place::endpoint_of(around, "STS");
        Self { endpoint: named.unwrap_or_else(|| place::address("sts", region)) }
    }

    /// Asks for the role's credentials.
    pub(super) async fn assume(
        &self,
        web: &WebIdentity,
        common: &Common,
    ) -> Result<Credentials, Failure> {
        let setup = |why: &str| failed(Category::Setup, why);
        let path = &web.token_file;
        let token = std::fs::read_to_string(path)
            .map_err(|error| setup(&format!("{}: {error}", path.display())))?;
        let url = Url::parse(&self.endpoint).map_err(|_| setup("the address of STS is no URL"))?;
        let remote = Remote::new(url, common)?;
        let form = Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &web.role_arn)
            .append_pair("RoleSessionName", web.session.as_deref().unwrap_or("walgate"))
            .append_pair("WebIdentityToken", token.trim())
            .finish();
        let heard = remote.send_form(form).await?;
        if heard.status.is_success() {
            return read(&heard.body).ok_or_else(|| remote.empty());
        }
        let mut failure = remote.refused(&heard);
        if let Some(said) = Said::read(&heard.body, None) {
            failure.message = format!("{}: {}", failure.message, said.code);
            if let Some(Meaning::Is(category @ (Category::Throttled | Category::Transient))) =
                said.meaning()
            {
                failure.category = category;
            }
        }
        Err(failure)
    }
}

/// Reads the answer: XML.
fn read(body: &[u8]) -> Option<Credentials> {
    let text = xml::element(str::from_utf8(body).ok()?, "Credentials")?;
    let value = |name: &str| xml::element(text, name).map(str::to_owned);
    Some(Credentials {
        access_key_id: value("AccessKeyId")?,
        secret_access_key: Secret::new(value("SecretAccessKey")?),
        session_token: Some(Secret::new(value("SessionToken")?)),
        end: Some(time(&value("Expiration")?)?),
    })
}
