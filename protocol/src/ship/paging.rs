//! Walking a list whose pages overlap: the start of a page is inclusive, so each further page repeats one item.

use std::collections::HashSet;

use super::limits::PAGES;

/// A walk that cannot come to an end. What was read is not the whole list, and nothing may be concluded from absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// A full page without anything new, and the server says there is more.
    #[error("page {page} of the list brought nothing new although the server says there is more")]
    Stuck {
        /// Counted from 1.
        page: u32,
    },
    /// More pages than any known database has.
    #[error("the list does not end within {PAGES} pages")]
    TooLong,
    /// The last item of a page has no identifier to go on from.
    #[error("an item of page {page} has no identifier")]
    NoIdentifier {
        /// Counted from 1.
        page: u32,
    },
}

/// What to ask for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// `MaxCount`.
    pub max_count: u32,
    /// `StartingFromExt...ID`; `None` on the first page.
    pub starting_from: Option<String>,
}

/// A page of a list, as answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the server.
    pub items: Vec<T>,
    /// `EOF`; `None` when the server did not say.
    pub is_last: Option<bool>,
}

/// A walk through one list.
#[derive(Debug)]
pub struct Pager {
    page_size: u32,
    pages: u32,
    last: Option<String>,
    previous: HashSet<String>,
    ended: bool,
}

impl Pager {
    /// A walk with pages of `page_size`, raised to 2 if below: a page of one would only ever repeat itself.
    pub fn new(page_size: u32) -> Self {
        Self { page_size: page_size.max(2), pages: 0, last: None, previous: HashSet::new(), ended: false }
    }

    /// The next request; `None` when the list is read to its end.
    pub fn next_request(&self) -> Option<PageRequest> {
        (!self.ended).then(|| PageRequest { max_count: self.page_size, starting_from: self.last.clone() })
    }

    /// Takes the answer and hands back what is new in it. `identifier` names an item.
    ///
    /// The repeated item is recognised, not assumed: it may have been deleted between two pages.
    pub fn accept<T>(&mut self, page: Page<T>, identifier: impl Fn(&T) -> Option<&str>) -> Result<Vec<T>, PagingError> {
        self.pages = self.pages.saturating_add(1);
        let received = page.items.len();
        let is_full = u32::try_from(received).map_or(true, |received| received >= self.page_size);
        // A page that is not full ends the list when the server does not say.
        let more = !page.is_last.unwrap_or(!is_full);

        let last = page.items.last().map(|item| identifier(item).map(str::to_owned));
        let names: HashSet<String> = page.items.iter().filter_map(&identifier).map(str::to_owned).collect();
        let fresh: Vec<T> = page
            .items
            .into_iter()
            .filter(|item| identifier(item).is_none_or(|name| !self.previous.contains(name)))
            .collect();

        if !more {
            self.ended = true;
            return Ok(fresh);
        }
        if fresh.is_empty() {
            // With room left in the page, the server had nothing after the start, whatever it says about more.
            if is_full {
                return Err(PagingError::Stuck { page: self.pages });
            }
            self.ended = true;
            return Ok(fresh);
        }
        if self.pages >= PAGES {
            return Err(PagingError::TooLong);
        }
        match last {
            Some(Some(last)) if !last.is_empty() => self.last = Some(last),
            _ => return Err(PagingError::NoIdentifier { page: self.pages }),
        }
        self.previous = names;
        Ok(fresh)
    }
}
