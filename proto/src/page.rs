//! Lists in pages: how much is asked for, what comes back, and how a page is kept below the length of a line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Items in a page when the caller does not say.
pub const PAGE_ITEMS_DEFAULT: u32 = 100;

/// Most items in one page, whatever the caller asks for.
pub const PAGE_ITEMS_MAX: u32 = 1000;

/// Bytes of JSON after which a page ends; half of a line, so that the envelope and one more item always fit.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageRequest {
    /// Most items to return; the server may return fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl PageRequest {
    /// Returns the number of items to return, within bounds.
    #[must_use]
    pub fn items(&self) -> usize {
        let limit = self.limit.unwrap_or(PAGE_ITEMS_DEFAULT).clamp(1, PAGE_ITEMS_MAX);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

/// One part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Pass it as `after` to get what follows; `null` at the end of the list.
    pub next: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// Fills a page item by item until the caller's limit or the length of a line is reached.
#[derive(Debug)]
pub struct PageBuilder<T> {
    page: Page<T>,
    limit: usize,
    bytes: usize,
    last: Option<String>,
}

impl<T: Serialize> PageBuilder<T> {
    /// Starts an empty page.
    #[must_use]
    pub fn new(request: &PageRequest) -> Self {
        Self { page: Page::default(), limit: request.items(), bytes: 0, last: None }
    }

    /// Adds an item; `position` is what `after` has to say to continue behind it. Returns false when the page is
    /// full: the item was not added, and the page will say that there is more.
    pub fn push(&mut self, position: impl Into<String>, item: T) -> bool {
        let bytes = serde_json::to_vec(&item).map_or(PAGE_BYTES_MAX, |json| json.len() + 1);
        let is_full = self.page.items.len() >= self.limit || self.bytes + bytes > PAGE_BYTES_MAX;
        // An item goes onto an empty page whatever its size, or the list could never be read past it.
        if is_full && !self.page.items.is_empty() {
            self.page.next = self.last.take();
            return false;
        }
        self.bytes += bytes;
        self.last = Some(position.into());
        self.page.items.push(item);
        true
    }

    /// Returns the page.
    #[must_use]
    pub fn finish(self) -> Page<T> {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(texts: &[String], limit: u32) -> Vec<Page<String>> {
        let mut pages = Vec::new();
        let mut request = PageRequest { limit: Some(limit), after: None };
        loop {
            let start = request.after.as_ref().map_or(0, |after| after.parse::<usize>().unwrap() + 1);
            let mut builder = PageBuilder::new(&request);
            for (number, text) in texts.iter().enumerate().skip(start) {
                if !builder.push(number.to_string(), text.clone()) {
                    break;
                }
            }
            let page = builder.finish();
            request.after.clone_from(&page.next);
            pages.push(page);
            if request.after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_put_together_are_the_list() {
        let texts: Vec<String> = (0..25).map(|n| format!("item {n}")).collect();
        let pages = read_all(&texts, 10);
        assert_eq!(pages.len(), 3);
        assert_eq!(pages.into_iter().flat_map(|page| page.items).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn an_exactly_full_page_at_the_end_is_the_last() {
        let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(read_all(&texts, 10).len(), 1);
    }

    #[test]
    fn a_page_of_long_items_stays_below_the_length_of_a_line() {
        let texts: Vec<String> = (0..8).map(|_| "x".repeat(200 * 1024)).collect();
        let pages = read_all(&texts, 1000);
        assert!(pages.iter().all(|page| serde_json::to_vec(page).unwrap().len() < 1024 * 1024));
        assert_eq!(pages.iter().map(|page| page.items.len()).sum::<usize>(), 8);
    }

    #[test]
    fn an_item_longer_than_a_page_still_gets_through() {
        let texts = vec!["x".repeat(PAGE_BYTES_MAX + 1), "y".to_owned()];
        assert_eq!(read_all(&texts, 10).len(), 2);
    }
}
