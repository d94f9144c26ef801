/* Makes the disk of one process slow, and remembers what is safe on it; loaded with LD_PRELOAD.
 *
 * SLOW_DISK names a file of at least 16 bytes, shared with the benchmark: the microseconds that each fsync takes
 * longer, and the length of the append-only file at the start of the last fsync that ended. A power cut keeps at
 * least that length; the rest may be gone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct disk {
  uint64_t delay_us;
  uint64_t safe_length;
};

static volatile struct disk *disk;

__attribute__((constructor)) static void open_disk(void) {
  const char *name = getenv("SLOW_DISK");
  int file = name ? open(name, O_RDWR) : -1;
  void *memory = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) {
    fputs("SLOW_DISK names no file that can be shared\n", stderr);
    exit(1);
  }
  close(file);
  disk = memory;
}

static int is_append_only_file(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path);
  return length > 9 && memcmp(path + length - 9, ".incr.aof", 9) == 0;
}

static int slowly(const char *name, int file) {
  int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct stat found;
  int counts = is_append_only_file(file) && fstat(file, &found) == 0;
  struct timespec pause = {disk->delay_us / 1000000, disk->delay_us % 1000000 * 1000};
  nanosleep(&pause, NULL);
  int result = call(file);
  if (counts && result == 0) disk->safe_length = found.st_size;
  return result;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
