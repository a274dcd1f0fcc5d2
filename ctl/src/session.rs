//! One run of the command: a connected client and the output, with the few things every command does with them.

use std::path::Path;

use backup_proto::client::ClientError;
use backup_proto::endpoint::{Environment, Owner, candidates};
use backup_proto::local::Client;
use backup_proto::message::Call;
use backup_proto::page::{PAGE_ITEMS_MAX, Page, PageRequest};
use serde::Serialize;

use crate::exit::Failure;
use crate::render::Output;

/// What this program says it is.
pub(crate) const CLIENT: &str = concat!("backupctl ", env!("CARGO_PKG_VERSION"));

/// A connected client and the output.
#[derive(Debug)]
pub(crate) struct Session {
    /// The way to the daemon.
    pub(crate) client: Client,
    /// Where everything that is said goes.
    pub(crate) out: Output,
}

impl Session {
    /// Connects to the named socket, or to the user's daemon, or else to the system's.
    pub(crate) fn connect(socket: Option<&Path>, out: Output) -> Result<Self, (Failure, Output)> {
        let candidates = candidates(&Environment::of_process(), socket);
        let client = match Client::connect(&candidates, CLIENT) {
            Ok(client) => client,
            Err(error) => return Err((error.into(), out)),
        };
        if !client.others().is_empty() {
            let whose = if client.used().owner == Owner::System { "the system's" } else { "your own" };
            out.note(&format!("Using {whose} daemon at {}.", client.used().socket.display()));
        }
        Ok(Self { client, out })
    }

    /// Makes a call.
    pub(crate) fn call<C: Call>(&mut self, params: &C) -> Result<C::Result, ClientError> {
        self.client.call(params)
    }

    /// Makes a call and shows its result: as JSON, or as the lines made of it.
    pub(crate) fn show<C: Call>(
        &mut self,
        params: &C,
        lines: impl FnOnce(&C::Result, &Output) -> Vec<String>,
    ) -> Result<C::Result, Failure> {
        let result = self.client.call(params)?;
        if self.out.is_json() {
            self.out.json(&result)?;
        } else {
            self.out.lines(lines(&result, &self.out))?;
        }
        Ok(result)
    }

    /// Reads a list page by page and hands out each page.
    pub(crate) fn pages<C, T>(
        &mut self,
        mut ask: impl FnMut(PageRequest) -> C,
        mut each: impl FnMut(&Output, Vec<T>) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        C: Call<Result = Page<T>>,
    {
        let mut after = None;
        loop {
            let page = self.client.call(&ask(PageRequest { limit: Some(PAGE_ITEMS_MAX), after: after.take() }))?;
            each(&self.out, page.items)?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Reads a whole list that is known to be short, such as plans.
    pub(crate) fn all<C, T>(&mut self, ask: impl FnMut(PageRequest) -> C) -> Result<Vec<T>, Failure>
    where
        C: Call<Result = Page<T>>,
    {
        let mut items = Vec::new();
        self.pages(ask, |_, page| {
            items.extend(page);
            Ok(())
        })?;
        Ok(items)
    }

    /// Shows a list as it comes: as one JSON array, or a line an item. Returns how many items there were.
    pub(crate) fn stream<C, T>(
        &mut self,
        ask: impl FnMut(PageRequest) -> C,
        line: impl Fn(&T, &Output) -> String,
    ) -> Result<u64, Failure>
    where
        C: Call<Result = Page<T>>,
        T: Serialize,
    {
        let mut count = 0;
        let mut opening = "[";
        self.pages(ask, |out, page| {
            for item in page {
                if out.is_json() {
                    out.line(&format!("{opening}{}", serde_json::to_string(&item).map_err(std::io::Error::other)?))?;
                    opening = ",";
                } else {
                    out.line(&line(&item, out))?;
                }
                count += 1;
            }
            Ok(())
        })?;
        if self.out.is_json() {
            self.out.line(if count == 0 { "[]" } else { "]" })?;
        }
        Ok(count)
    }

    /// Shows a short list: as one JSON array, or as a table under a heading; or the sentence for none.
    pub(crate) fn table<T: Serialize>(
        &self,
        items: &[T],
        heading: &[&str],
        none: &str,
        row: impl Fn(&T, &Output) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(self.out.json(&items)?);
        }
        if items.is_empty() {
            return Ok(self.out.line(none)?);
        }
        let mut rows = vec![heading.iter().map(|cell| (*cell).to_owned()).collect()];
        rows.extend(items.iter().map(|item| row(item, &self.out)));
        Ok(self.out.lines(crate::text::table(&rows))?)
    }
}
