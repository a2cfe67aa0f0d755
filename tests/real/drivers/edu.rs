// A driver of the edu device in Rust, with its standard library only (1.63 or newer). Each operation is compiled
// once and runs twice, on a register of the device and on plain memory: both must end with the same values,
// whatever instruction the compiler has found for it.
use std::ffi::c_void;
use std::fs::{read_link, File, OpenOptions};
use std::io::Read;
use std::os::raw::{c_int, c_ulong};
use std::os::unix::fs::FileExt;
use std::os::unix::io::{AsRawFd, FromRawFd};
use std::ptr::{read_volatile, write_volatile};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering};

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(at: *mut c_void, size: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn eventfd(initial: u32, flags: c_int) -> c_int;
}

const fn vfio(number: c_ulong) -> c_ulong {
    (b';' as c_ulong) << 8 | (100 + number)
}
const SET_IOMMU: c_ulong = vfio(2);
const GROUP_SET_CONTAINER: c_ulong = vfio(4);
const GROUP_GET_DEVICE_FD: c_ulong = vfio(6);
const GET_REGION_INFO: c_ulong = vfio(8);
const SET_IRQS: c_ulong = vfio(10);
const MAP_DMA: c_ulong = vfio(13);
const TYPE1V2: c_int = 3;
const CONFIG_REGION: u32 = 7;
const MSI: u32 = 1;

const LIVENESS: usize = 0x04;
const FACTORIAL: usize = 0x08;
const STATUS: usize = 0x20;
const INTERRUPT_STATUS: usize = 0x24;
const ACKNOWLEDGE: usize = 0x64;
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const BUFFER: u64 = 0x40000; // the device's own memory, in its address space
const IOVA: u64 = 0x100000;
const BYTES: usize = 4096;

macro_rules! operations {
    ($name:ident, $word:ty, $signed:ty, $atomic:ty) => {
        mod $name {
            use super::*;
            type Word = $word;
            const USUAL: Word = 0x1234567_u64 as Word; // found in a register often enough to compare with
            pub type Operation = unsafe fn(*mut Word, Word) -> Word;

            unsafe fn change(reg: *mut Word, new: impl Fn(Word) -> Word) -> Word {
                write_volatile(reg, new(read_volatile(reg)));
                0
            }
            unsafe fn atomic(reg: *mut Word) -> &'static $atomic {
                &*(reg as *const $atomic)
            }

            pub const ALL: &[Operation] = &[
                |reg, _| unsafe { write_volatile(reg, USUAL); 0 },
                |reg, other| unsafe { write_volatile(reg, other); 0 },
                |reg, _| unsafe { read_volatile(reg) },
                |reg, _| unsafe { change(reg, |old| old | 0x10) },
                |reg, _| unsafe { change(reg, |old| old & !1) },
                |reg, _| unsafe { change(reg, |old| old ^ 0x5a5a5a_u64 as Word) },
                |reg, other| unsafe { change(reg, |old| old | other) },
                |reg, other| unsafe { change(reg, |old| old & other) },
                |reg, other| unsafe { change(reg, |old| old ^ other) },
                |reg, other| unsafe { change(reg, |old| old.wrapping_add(other)) },
                |reg, other| unsafe { change(reg, |old| old.wrapping_sub(other)) },
                |reg, _| unsafe { change(reg, |old| old.wrapping_add(1)) },
                |reg, _| unsafe { change(reg, |old| old.wrapping_sub(1)) },
                |reg, _| unsafe { change(reg, |old| !old) },
                |reg, _| unsafe { change(reg, |old| old.wrapping_neg()) },
                |reg, _| unsafe { change(reg, |old| old << 3) },
                |reg, _| unsafe { change(reg, |old| old >> 5) },
                |reg, other| unsafe { change(reg, |old| old.wrapping_shl(other as u32 & 15)) },
                |reg, _| unsafe { change(reg, |old| old.rotate_left(7)) },
                |reg, other| unsafe { change(reg, |old| old | (1_u64 << (other & 31)) as Word) },
                |reg, other| unsafe { change(reg, |old| old & !((1_u64 << (other & 31)) as Word)) },
                |reg, other| unsafe { let old = read_volatile(reg); write_volatile(reg, other); old },
                |reg, other| unsafe { other.wrapping_add(read_volatile(reg)) },
                |reg, other| unsafe { other.wrapping_sub(read_volatile(reg)) },
                |reg, other| unsafe { other & read_volatile(reg) },
                |reg, other| unsafe { other.wrapping_mul(read_volatile(reg)) },
                |reg, _| unsafe { if read_volatile(reg) & 0x80 != 0 { 7 } else { 9 } },
                |reg, other| unsafe { if read_volatile(reg) < other { 1 } else { 2 } },
                |reg, _| unsafe { if read_volatile(reg) == USUAL { 3 } else { 4 } },
                |reg, other| unsafe { other / (read_volatile(reg) | 1) },
                |reg, _| unsafe { read_volatile(reg).count_ones() as Word },
                |reg, _| unsafe { read_volatile(reg).trailing_zeros() as Word },
                |reg, _| unsafe { read_volatile(reg).leading_zeros() as Word },
                |reg, _| unsafe { read_volatile(reg).swap_bytes() },
                |reg, other| unsafe { write_volatile(reg, other.swap_bytes()); 0 },
                |reg, _| unsafe { (read_volatile(reg) as i32 as i64 >> 8) as Word },
                |reg, _| unsafe { (read_volatile(reg) as $signed / 16) as Word },
                |reg, _| unsafe { (read_volatile(reg) as i32 as f64 / 2.0) as i64 as Word },
                |reg, other| unsafe { other & !read_volatile(reg) },
                |reg, other| unsafe { atomic(reg).fetch_add(other, Ordering::SeqCst) },
                |reg, other| unsafe { atomic(reg).fetch_sub(other, Ordering::SeqCst) },
                |reg, other| unsafe { atomic(reg).fetch_or(other, Ordering::SeqCst) },
                |reg, other| unsafe { atomic(reg).fetch_and(other, Ordering::SeqCst); 0 },
                |reg, other| unsafe { atomic(reg).fetch_xor(other, Ordering::SeqCst); 0 },
                |reg, other| unsafe { atomic(reg).swap(other, Ordering::SeqCst) },
                |reg, other| unsafe {
                    let result = atomic(reg).compare_exchange(USUAL, other, Ordering::SeqCst, Ordering::SeqCst);
                    result.unwrap_or_else(|found| found)
                },
            ];

            pub unsafe fn compare(at: *mut u8) -> usize {
                let reg = at as *mut Word;
                let mut random: u64 = 1;
                let mut next = || {
                    random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (random ^ random >> 29) as Word
                };
                for (number, operation) in ALL.iter().enumerate() {
                    for round in 0..20 {
                        let start = if round == 0 { USUAL } else { next() };
                        let other = next();
                        let mut memory = start;
                        write_volatile(reg, start);
                        let expected = operation(&mut memory, other);
                        let got = operation(reg, other);
                        assert_eq!((got, read_volatile(reg)), (expected, memory),
                                   "operation {number} from {start:x} with {other:x}");
                    }
                }
                ALL.len() * 20
            }
        }
    };
}
operations!(bytes, u8, i8, AtomicU8);
operations!(halves, u16, i16, AtomicU16);
operations!(words, u32, i32, AtomicU32);
operations!(quads, u64, i64, AtomicU64);

// A request whose first word is its own size.
fn call(file: &File, request: c_ulong, argument: *mut c_void, what: &str) -> c_int {
    let result = unsafe { ioctl(file.as_raw_fd(), request, argument) };
    assert!(result >= 0, "{what}: {}", std::io::Error::last_os_error());
    result
}

fn region_offset(device: &File, index: u32) -> u64 {
    let mut info: [u32; 8] = [32, 0, index, 0, 0, 0, 0, 0]; // struct vfio_region_info
    call(device, GET_REGION_INFO, info.as_mut_ptr().cast(), "VFIO_DEVICE_GET_REGION_INFO");
    u64::from(info[6]) | u64::from(info[7]) << 32
}

fn open_device(bdf: &str) -> (File, File, File) {
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path).expect(path);
    let link = read_link(format!("/sys/bus/pci/devices/{bdf}/iommu_group")).expect("iommu_group");
    let container = open("/dev/vfio/vfio");
    let group = open(&format!("/dev/vfio/{}", link.file_name().unwrap().to_str().unwrap()));
    let mut fd: c_int = container.as_raw_fd();
    call(&group, GROUP_SET_CONTAINER, (&mut fd as *mut c_int).cast(), "VFIO_GROUP_SET_CONTAINER");
    call(&container, SET_IOMMU, TYPE1V2 as usize as *mut c_void, "VFIO_SET_IOMMU");
    let name = format!("{bdf}\0");
    let device = call(&group, GROUP_GET_DEVICE_FD, name.as_ptr() as *mut c_void, "VFIO_GROUP_GET_DEVICE_FD");
    (container, group, unsafe { File::from_raw_fd(device) })
}

fn bind_interrupt(device: &File) -> File {
    let event = unsafe { eventfd(0, 0) };
    // struct vfio_irq_set: eventfds (1 << 2), as triggers (1 << 5).
    let mut set: [u32; 6] = [24, 1 << 2 | 1 << 5, MSI, 0, 1, event as u32];
    call(device, SET_IRQS, set.as_mut_ptr().cast(), "VFIO_DEVICE_SET_IRQS");
    unsafe { File::from_raw_fd(event) }
}

struct Registers(*mut u8);

impl Registers {
    fn read(&self, offset: usize) -> u32 {
        unsafe { read_volatile(self.0.add(offset) as *const u32) }
    }
    fn write(&self, offset: usize, value: u32) {
        unsafe { write_volatile(self.0.add(offset) as *mut u32, value) }
    }
    fn write64(&self, offset: usize, value: u64) {
        unsafe { write_volatile(self.0.add(offset) as *mut u64, value) }
    }

    // Read-modify-writes of registers that do something: liveness reads as the inverse of what was written.
    fn use_them(&self) {
        self.write(LIVENESS, 0x0f0f0f0f);
        self.write(LIVENESS, self.read(LIVENESS) ^ 0xff); // reads f0f0f0f0, writes f0f0f00f
        assert_eq!(self.read(LIVENESS), 0x0f0f0ff0);
        self.write(STATUS, self.read(STATUS) | 0x80);
        self.write(FACTORIAL, 10);
        assert_eq!(self.read(FACTORIAL), 3628800);
        assert_ne!(self.read(INTERRUPT_STATUS) & 1, 0);
        self.write(ACKNOWLEDGE, self.read(INTERRUPT_STATUS));
        self.write(STATUS, self.read(STATUS) & !0x80);
    }

    fn transfer(&self, event: &mut File, from: u64, to: u64, direction: u64) {
        self.write64(SOURCE, from);
        self.write64(DESTINATION, to);
        self.write64(COUNT, BYTES as u64);
        self.write64(COMMAND, 1 | direction | 4);
        let mut count = [0; 8];
        event.read_exact(&mut count).expect("the interrupt");
        while self.read(COMMAND) & 1 != 0 {}
        self.write(ACKNOWLEDGE, self.read(INTERRUPT_STATUS));
    }
}

fn copy_both_ways(container: &File, registers: &Registers, event: &mut File) {
    const READ_WRITE: c_int = 3;
    const PRIVATE_ANONYMOUS: c_int = 0x22;
    let at = unsafe { mmap(std::ptr::null_mut(), 2 * BYTES, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
    assert_ne!(at as isize, -1);
    let memory = unsafe { std::slice::from_raw_parts_mut(at as *mut u8, 2 * BYTES) };
    for (i, byte) in memory[..BYTES].iter_mut().enumerate() {
        *byte = (i * 7 + i / 256) as u8;
    }
    let mut map: [u64; 4] = [3 << 32 | 32, at as u64, IOVA, 2 * BYTES as u64]; // struct vfio_iommu_type1_dma_map
    call(container, MAP_DMA, map.as_mut_ptr().cast(), "VFIO_IOMMU_MAP_DMA");
    registers.transfer(event, IOVA, BUFFER, 0);
    registers.transfer(event, BUFFER, IOVA + BYTES as u64, 2);
    assert!(memory[..BYTES] == memory[BYTES..], "the bytes come back otherwise");
}

fn map_registers(device: &File) -> *mut u8 {
    let offset = region_offset(device, 0) as i64;
    let bar = unsafe { mmap(std::ptr::null_mut(), BYTES, 3, 1, device.as_raw_fd(), offset) } as *mut u8;
    assert_ne!(bar as isize, -1, "cannot map the registers");
    let command = region_offset(device, CONFIG_REGION) + 4;
    device.write_at(&[6, 0], command).expect("COMMAND");
    bar
}

// A BAR that keeps what is written to it, in units of any size: the null device's.
fn use_plain_memory(bdf: &str) {
    let (_container, _group, device) = open_device(bdf);
    let memory = map_registers(&device);
    let done = unsafe {
        bytes::compare(memory.add(0x101))
            + halves::compare(memory.add(0x202))
            + words::compare(memory.add(0x304))
            + quads::compare(memory.add(0x408))
    };
    for size in 1..=1000 {
        let block: Vec<u8> = (0..size).map(|i| (i * 13 + size) as u8).collect();
        let mut back = vec![0; size];
        unsafe {
            std::ptr::write_bytes(memory.add(0x600), 0x55, size + 1);
            std::ptr::copy_nonoverlapping(block.as_ptr(), memory.add(0x601), size);
            std::ptr::copy_nonoverlapping(memory.add(0x601), back.as_mut_ptr(), size);
            assert!(block == back && read_volatile(memory.add(0x600)) == 0x55);
        }
    }
    println!("null: {done} operations did what they do on memory, and 1000 blocks came back");
}

fn main() {
    let argument = |n, otherwise: &str| std::env::args().nth(n).unwrap_or_else(|| otherwise.into());
    let (container, _group, device) = open_device(&argument(1, "0000:00:04.0"));
    let bar = map_registers(&device);
    let registers = Registers(bar);
    let mut event = bind_interrupt(&device);
    let done = unsafe { words::compare(bar.add(SOURCE)) + quads::compare(bar.add(SOURCE)) };
    registers.use_them();
    copy_both_ways(&container, &registers, &mut event);
    println!("edu: {done} operations did what they do on memory; 4096 bytes to the device and back");
    use_plain_memory(&argument(2, "0000:00:05.0"));
}
