//! Credentials of the container's agent: ECS, and pods of EKS.

use std::net::IpAddr;
use std::path::PathBuf;

use hyper::Method;
use url::{Host, Url};

use super::Credentials;
use super::remote::{Remote, failed, read};
use crate::failure::Category;
use crate::sink::aws::around::Around;
use crate::sink::{Common, Failure};

/// Where ECS has its agent; that of EKS is a neighbour.
const ECS: &str = "http://169.254.170.2";
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Where to ask, and what to show.
pub(super) struct Container {
    url: String,
    token: Option<String>,
    /// Renewed by others; goes before the token.
    token_file: Option<PathBuf>,
}

impl Container {
    pub(super) fn of(around: &Around) -> Option<Self> {
        let relative = around.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| format!("{ECS}{path}"));
        Some(Self {
            url: relative.or_else(|| around.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"))?,
            token: around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            token_file: around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(Into::into),
        })
    }

    pub(super) async fn ask(&self, common: &Common) -> Result<Credentials, Failure> {
        let setup = |why: &str| failed(Category::Setup, why);
        let url = Url::parse(&self.url).ok().filter(may_be_asked).ok_or_else(|| {
            setup("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an agent's address")
        })?;
        let token = match &self.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| setup(&format!("{}: {error}", path.display())))?,
            ),
            None => self.token.clone(),
        };
        let token = token.as_deref().map(|token| ("authorization", token.trim()));
        let remote = Remote::new(url, common)?;
        let headers: Vec<_> = token.into_iter().collect();
        let heard = remote.ask(Method::GET, None, &headers).await?;
        if !heard.status.is_success() {
            return Err(remote.refused(&heard));
        }
        read(&heard.body).ok_or_else(|| remote.empty())
    }
}

/// Without TLS only this machine and the agents are asked, as whoever answers gets the token.
fn may_be_asked(url: &Url) -> bool {
    let is_near = |address: IpAddr| {
        address.is_loopback() || AGENTS.iter().any(|agent| agent.parse() == Ok(address))
    };
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => is_near(address.into()),
        ("http", Some(Host::Ipv6(address))) => is_near(address.into()),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agents_are_asked_without_tls() {
        let may = |url: &str| may_be_asked(&Url::parse(url).unwrap());
        for url in [
            "http://169.254.170.2/x",
            "http://169.254.170.23/v1",
            "http://[fd00:ec2::23]/",
            "http://127.0.0.1:9/",
            "http://localhost/",
            "https://example.com/",
        ] {
            assert!(may(url), "{url}");
        }
        for url in
            ["http://example.com/", "http://10.0.0.1/", "http://169.254.169.254/", "ftp://x/"]
        {
            assert!(!may(url), "{url}");
        }
    }
}
