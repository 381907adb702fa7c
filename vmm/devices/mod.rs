//! Devices: the buses, the serial port, the exit port, virtio.
