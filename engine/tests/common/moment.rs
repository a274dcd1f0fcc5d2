//! A storage that lets something happen at one moment of a run: right after its k-th pack was stored.

use std::sync::{Arc, Mutex};

use backup_engine::Result;
use backup_engine::storage::{Body, FileKind, FileName, Storage};

/// What happens at the moment.
type Act = Box<dyn FnOnce() + Send>;

/// A wrapper of a storage; the run waits in the middle of its call while something happens.
pub(crate) struct Moment {
    inner: Arc<dyn Storage>,
    left: Mutex<(u64, Option<Act>)>,
}

impl Moment {
    pub(crate) fn after_pack(inner: Arc<dyn Storage>, number: u64, act: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(Self { inner, left: Mutex::new((number, Some(Box::new(act)))) })
    }

    /// Says whether the moment came.
    pub(crate) fn came(&self) -> bool {
        self.left.lock().expect("nothing panics at the moment").1.is_none()
    }

    fn stored(&self) {
        let act = {
            let mut left = self.left.lock().expect("nothing panics at the moment");
            left.0 = left.0.saturating_sub(1);
            if left.0 == 0 { left.1.take() } else { None }
        };
        if let Some(act) = act {
            act();
        }
    }
}

impl Storage for Moment {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn create(&self) -> Result<()> {
        self.inner.create()
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        self.inner.list(kind)
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(name, offset, length)
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        self.inner.write(name, body)?;
        if name.kind == FileKind::Pack {
            self.stored();
        }
        Ok(())
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.inner.remove(name)
    }
}
