//! A standby of a throw-away cluster, made without `pg_basebackup`: not every packaging has it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::builder::free_port;
use super::{Cluster, Error, Stop, io, run};

/// How long the cluster may take to stop for the copy.
const STOP_MAX: Duration = Duration::from_secs(30);

impl Cluster {
    /// Makes a standby that follows this cluster through the physical slot `name`, and starts it
    /// with `settings` beside those it inherits. The cluster is stopped for the copy and started
    /// again.
    ///
    /// # Errors
    /// When either does not stop or start, or the files can't be copied.
    pub async fn standby(&mut self, name: &str, settings: &[(&str, &str)]) -> Result<Self, Error> {
        self.stop(Stop::Fast, STOP_MAX).await?;
        let mut standby = self.copy()?;
        let primary = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres application_name={name}",
            self.port()
        );
        let own = [("primary_conninfo", primary.as_str()), ("primary_slot_name", name)];
        let mut text = fs::read_to_string(self.data().join("walgate.conf"))
            .map_err(io("read a file of the cluster"))?;
        for (name, value) in own.iter().chain(settings) {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        standby.write("walgate.conf", text.as_bytes())?;
        standby.write("standby.signal", b"")?;
        self.start().await?;
        self.execute(&format!("SELECT pg_create_physical_replication_slot('{name}', true)"))
            .await?;
        standby.start().await?;
        Ok(standby)
    }

    /// Copies the files of this cluster, which must not run; slots stay behind.
    fn copy(&self) -> Result<Self, Error> {
        let base = self.account().temporary_folder();
        let folder = tempfile::Builder::new()
            .prefix("walgate-postgres-")
            .tempdir_in(&base)
            .map_err(io("make a temporary folder"))?;
        self.account().own(folder.path())?;
        let data = folder.path().join("data");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.data()).arg(&data);
        run("cp", copy)?;
        for entry in fs::read_dir(data.join("pg_replslot")).map_err(io("read a folder"))? {
            let entry = entry.map_err(io("read a folder"))?;
            fs::remove_dir_all(entry.path()).map_err(io("remove a folder"))?;
        }
        Ok(Self::new(self.installation().clone(), self.account().clone(), folder, free_port()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standby_follows_until_it_is_promoted() {
        let mut primary = Cluster::builder().start().await.unwrap();
        primary.execute("CREATE TABLE t (a int)").await.unwrap();
        let standby = primary.standby("standby", &[]).await.unwrap();
        primary.execute("INSERT INTO t VALUES (7)").await.unwrap();
        while standby.value("SELECT a FROM t").await.unwrap() != "7" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(standby.value("SELECT pg_is_in_recovery()").await.unwrap(), "t");
        assert_eq!(standby.value("SELECT pg_promote()").await.unwrap(), "t");
        standby.execute("INSERT INTO t VALUES (8)").await.unwrap();
    }
}
