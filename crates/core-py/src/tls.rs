//! `_core.TlsStore`: what the arbiter has read of certificates and keys, for all workers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monoceros_engine::tls::{
    ClientAuthentication, KeyPair, Material, Server, Settings, Store, TicketKeys, TooLarge, end_of,
    load,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::process::os_error;

/// Shared memory with all that workers need for TLS.
#[pyclass(frozen, name = "TlsStore", module = "monoceros._core")]
pub struct PyTlsStore {
    store: Arc<Store>,
    settings: Settings,
    /// What is in the store.
    material: Mutex<Material>,
}

impl PyTlsStore {
    /// A worker's side. Raises ValueError.
    pub fn server(&self) -> PyResult<Server> {
        Server::new(Arc::clone(&self.store)).map_err(PyValueError::new_err)
    }

    fn material(&self) -> MutexGuard<'_, Material> {
        // It is only ever replaced as a whole.
        self.material.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, material: Material) -> PyResult<()> {
        publish(&self.store, &material)?;
        *self.material() = material;
        Ok(())
    }
}

fn publish(store: &Store, material: &Material) -> PyResult<()> {
    store.publish(&material.encode()).map_err(|TooLarge { bytes, room }| {
        PyValueError::new_err(format!(
            "the certificates take {bytes} bytes, more than the {room} that there is room for"
        ))
    })
}

fn rotated(mut keys: TicketKeys) -> PyResult<TicketKeys> {
    if keys.rotate() {
        return Ok(keys);
    }
    Err(PyOSError::new_err("the system has no random bytes for the keys of session tickets"))
}

#[pymethods]
impl PyTlsStore {
    #[classattr]
    const TICKET_PERIOD: u32 = TicketKeys::PERIOD;

    #[new]
    #[pyo3(signature = (pairs, *, password=None, ca_certs=None, cert_reqs=0, ciphers=None, only_tls13=false, former=None))]
    fn new(
        pairs: Vec<(PathBuf, PathBuf)>,
        password: Option<String>,
        ca_certs: Option<PathBuf>,
        cert_reqs: u8,
        ciphers: Option<String>,
        only_tls13: bool,
        former: Option<PyRef<'_, PyTlsStore>>,
    ) -> PyResult<PyTlsStore> {
        let authentication = ClientAuthentication::from_number(cert_reqs)
            .ok_or_else(|| PyValueError::new_err("cert_reqs is 0, 1 or 2"))?;
        let pairs = pairs.into_iter().map(|(certificates, key)| KeyPair { certificates, key });
        let settings = Settings {
            pairs: pairs.collect(),
            password,
            authorities: ca_certs,
            authentication,
            ciphers,
            only_tls13,
        };
        let tickets = match former {
            Some(former) => former.material().tickets.clone(),
            None => rotated(TicketKeys::default())?,
        };
        let material = load(&settings, tickets).map_err(PyValueError::new_err)?;
        let store = Arc::new(Store::new().map_err(os_error)?);
        publish(&store, &material)?;
        Ok(PyTlsStore { store, settings, material: Mutex::new(material) })
    }

    /// Read the files again. Whether anything has changed.
    fn reload(&self) -> PyResult<bool> {
        let tickets = self.material().tickets.clone();
        let material = load(&self.settings, tickets).map_err(PyValueError::new_err)?;
        let changed = *self.material() != material;
        if changed {
            self.publish(material)?;
        }
        Ok(changed)
    }

    /// New tickets are sealed with a new key from now on.
    fn rotate_tickets(&self) -> PyResult<()> {
        let former = self.material().clone();
        let tickets = rotated(former.tickets.clone())?;
        self.publish(Material { tickets, ..former })
    }

    #[getter]
    fn ends(&self) -> Vec<(PathBuf, u64)> {
        let material = self.material();
        let pairs = self.settings.pairs.iter().zip(&material.identities);
        pairs
            .filter_map(|(pair, identity)| {
                Some((pair.certificates.clone(), end_of(identity.chain.first()?)?))
            })
            .collect()
    }

    #[getter]
    fn files(&self) -> Vec<PathBuf> {
        self.settings.files()
    }
}
