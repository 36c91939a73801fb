//! Credentials of the instance's role: EC2's metadata service, version 2.

use hyper::Method;
use url::{Host, Url};

use super::Credentials;
use super::remote::{Remote, failed, read};
use crate::failure::Category;
use crate::sink::aws::around::Around;
use crate::sink::{Common, Failure};

/// Where it is on every instance.
const ADDRESS: &str = "http://169.254.169.254";
const ADDRESSES: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Where to ask.
pub(super) struct Instance {
    url: String,
}

impl Instance {
    /// None where it is turned off.
    pub(super) fn of(around: &Around) -> Option<Self> {
        let off = around.variable("AWS_EC2_METADATA_DISABLED");
        if off.is_some_and(|off| off.eq_ignore_ascii_case("true")) {
            return None;
        }
        let named = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        Some(Self { url: named.unwrap_or_else(|| ADDRESS.to_owned()) })
    }

    pub(super) async fn ask(&self, common: &Common) -> Result<Credentials, Failure> {
        let url = Url::parse(&self.url).ok().filter(may_be_asked).ok_or_else(|| {
            let why = "AWS_EC2_METADATA_SERVICE_ENDPOINT is not an address of that service";
            failed(Category::Setup, why)
        })?;
        let remote = Remote::new(url, common)?;
        let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "300")];
        let path = Some("/latest/api/token");
        let heard = remote.ask(Method::PUT, path, &lifetime).await?;
        if !heard.status.is_success() {
            return Err(remote.refused(&heard));
        }
        let token = String::from_utf8(heard.body).map_err(|_| remote.empty())?;
        let token = [("x-aws-ec2-metadata-token", token.trim())];
        let heard = remote.ask(Method::GET, Some(ROLES), &token).await?;
        if !heard.status.is_success() {
            return Err(remote.refused(&heard));
        }
        let role = str::from_utf8(&heard.body).ok().and_then(|text| text.lines().next());
        let role = role.map(str::trim).filter(|role| !role.is_empty());
        let path = format!("{ROLES}{}", role.ok_or_else(|| remote.empty())?);
        let heard = remote.ask(Method::GET, Some(&path), &token).await?;
        if !heard.status.is_success() {
            return Err(remote.refused(&heard));
        }
        read(&heard.body).ok_or_else(|| remote.empty())
    }
}

/// Nobody but the service, or what stands for it on this machine.
fn may_be_asked(url: &Url) -> bool {
    let is_it = |address: std::net::IpAddr| {
        address.is_loopback() || ADDRESSES.iter().any(|known| known.parse() == Ok(address))
    };
    match url.host() {
        Some(Host::Ipv4(address)) => is_it(address.into()),
        Some(Host::Ipv6(address)) => is_it(address.into()),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_is_asked() {
        let may = |url: &str| may_be_asked(&Url::parse(url).unwrap());
        assert!(may(ADDRESS) && may("http://[fd00:ec2::254]") && may("http://127.0.0.1:80"));
        assert!(
            !may("http://169.254.1.1") && !may("http://example.com") && !may("http://10.0.0.1")
        );
    }
}
