//! The connections of one core: a slab whose entries know how often they were used.

use super::connection::Connection;

/// Entries by index. Memory for all of them is reserved at the start and touched as it is used.
pub struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    limit: usize,
    open: usize,
}

struct Entry {
    /// Odd while the entry is in use; counted up at both ends of a use.
    generation: u32,
    connection: Option<Connection>,
}

impl Table {
    pub fn new(limit: usize) -> Self {
        Self {
            entries: Vec::with_capacity(limit),
            free: Vec::with_capacity(limit),
            limit,
            open: 0,
        }
    }

    /// Puts a connection in; `make` is told its index and generation. `None` when every entry is in use.
    pub fn insert(&mut self, make: impl FnOnce(u32, u32) -> Connection) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < self.limit => {
                self.entries.push(Entry {
                    generation: 0,
                    connection: None,
                });
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        let entry = self.entries.get_mut(index as usize)?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.connection = Some(make(index, entry.generation));
        self.open += 1;
        Some(index)
    }

    pub fn remove(&mut self, index: u32) -> Option<Connection> {
        let entry = self.entries.get_mut(index as usize)?;
        let connection = entry.connection.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        self.open -= 1;
        Some(connection)
    }

    pub fn get(&mut self, index: u32) -> Option<&mut Connection> {
        self.entries.get_mut(index as usize)?.connection.as_mut()
    }

    /// The connection, if it is still the one of that generation.
    pub fn find(&mut self, index: u32, generation: u32) -> Option<&mut Connection> {
        let entry = self.entries.get_mut(index as usize)?;
        entry.connection.as_mut().filter(|_| entry.generation == generation)
    }

    /// Entries in use.
    pub fn open(&self) -> usize {
        self.open
    }

    /// One more than the greatest index ever used.
    pub fn reach(&self) -> u32 {
        self.entries.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// design.md's budget: 600 bytes of user memory for an idle plain session, both sides together. The entry is nearly
    /// all of it; names that only this session has, its timer and its cancel entry come on top.
    #[test]
    fn an_entry_is_small() {
        let size = size_of::<Entry>();
        assert!(size <= 472, "{size} bytes");
    }
}
