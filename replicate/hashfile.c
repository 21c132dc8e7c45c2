/* SPDX-License-Identifier: MIT */
#include "replicate/hashfile.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "replicate/page.h"

#include <errno.h>
#include <sys/mman.h>

#define HEAD_LEN 4096u
#define MAGIC "RPLTHASH" /* 8 bytes, no terminator */
#define VERSION 1u
#define CAPACITY_MIN 512u

/* Offsets in the head. */
enum {
	H_MAGIC = 0,
	H_VERSION = 8,
	H_CLEAN = 12,
	H_ID = 16,
	H_POSITION = 32,
	H_PAGE_SIZE = 56,
	H_PAGES = 60,
	H_EVIDENCE = 64,
	H_EVIDENCE_LEN = 56,
	H_HASH = 120, /* of bytes 0..119; only kept while clean */
};

static int map_file(struct hashfile *file, int fd, uint64_t capacity, struct error *err)
{
	size_t len = HEAD_LEN + capacity * 8;
	struct stat before;
	void *map;
	int r;

	if (fstat(fd, &before) < 0)
		return error_set_errno(err, errno, "cannot stat the page hashes");
	r = posix_fallocate(fd, 0, (off_t)len);
	if (r != 0) {
		/* It may have taken all there was. */
		(void)!ftruncate(fd, before.st_size);
		error_set_errno(err, r, "cannot reserve room for page hashes");
		return error_room(err);
	}
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return error_set_errno(err, errno, "cannot map the page hashes");
	if (file->map != NULL)
		munmap(file->map, HEAD_LEN + file->capacity * 8);
	file->map = map;
	file->capacity = capacity;
	return 0;
}

static int open_file(struct hashfile *file, struct error *err)
{
	int fd = openat(file->root_fd, file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return error_set_errno(err, errno, "cannot open the page hashes %s", file->path);
	return fd;
}

/* Whether the head is ours and consistent. */
static bool head_valid(const struct hashfile *file, const struct id *id)
{
	struct extent extent;

	if (memcmp(file->map + H_MAGIC, MAGIC, 8) != 0 ||
	    le32_get(file->map + H_VERSION) != VERSION ||
	    memcmp(file->map + H_ID, id, sizeof(*id)) != 0)
		return false;
	if (le32_get(file->map + H_CLEAN) != 0 &&
	    le64_get(file->map + H_HASH) != hash64(file->map, H_HASH, 0))
		return false;
	hashfile_position(file, &extent);
	return extent.n_pages <= file->capacity;
}

int hashfile_open(struct hashfile *file, int root_fd, const char *path, const struct id *id,
		  struct error *err)
{
	int fd CLEANUP_FD = -1;
	struct stat st;
	uint64_t capacity;
	int r;

	*file = (struct hashfile){ .root_fd = root_fd, .path = strdup(path) };
	if (file->path == NULL)
		return error_set(err, ENOMEM, "out of memory");
	fd = open_file(file, err);
	r = fd;
	if (fd >= 0 && fstat(fd, &st) < 0)
		r = error_set_errno(err, errno, "cannot stat the page hashes");
	if (r >= 0) {
		capacity = st.st_size > (off_t)HEAD_LEN ?
				   ((uint64_t)st.st_size - HEAD_LEN) / 8 : 0;
		r = map_file(file, fd, MAX(capacity, (uint64_t)CAPACITY_MIN), err);
	}
	if (r < 0) {
		hashfile_close(file);
		return r;
	}
	if (head_valid(file, id))
		return 0;
	memset(file->map, 0, HEAD_LEN);
	memcpy(file->map + H_MAGIC, MAGIC, 8);
	le32_put(file->map + H_VERSION, VERSION);
	memcpy(file->map + H_ID, id, sizeof(*id));
	return 1;
}

void hashfile_close(struct hashfile *file)
{
	if (file->map != NULL)
		munmap(file->map, HEAD_LEN + file->capacity * 8);
	free(file->path);
	*file = (struct hashfile){ 0 };
}

int hashfile_reserve(struct hashfile *file, uint32_t n_pages, struct error *err)
{
	int fd CLEANUP_FD = -1;

	if (n_pages <= file->capacity)
		return 0;
	fd = open_file(file, err);
	if (fd < 0)
		return fd;
	return map_file(file, fd, (uint64_t)n_pages + n_pages / 4 + CAPACITY_MIN, err);
}

uint64_t hashfile_get(const struct hashfile *file, uint32_t pgno)
{
	return le64_get(file->map + HEAD_LEN + (uint64_t)(pgno - 1) * 8);
}

void hashfile_set(struct hashfile *file, uint32_t pgno, uint64_t hash)
{
	le64_put(file->map + HEAD_LEN + (uint64_t)(pgno - 1) * 8, hash);
}

uint64_t hashfile_checksum(const struct hashfile *file, uint32_t n_pages)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= n_pages; pgno++)
		checksum ^= hashfile_get(file, pgno);
	return checksum;
}

struct position hashfile_position(const struct hashfile *file, struct extent *ret_extent)
{
	if (ret_extent != NULL) {
		ret_extent->page_size = le32_get(file->map + H_PAGE_SIZE);
		ret_extent->n_pages = le32_get(file->map + H_PAGES);
	}
	return (struct position){
		.generation = le64_get(file->map + H_POSITION),
		.txid = le64_get(file->map + H_POSITION + 8),
		.checksum = le64_get(file->map + H_POSITION + 16),
	};
}

void hashfile_set_position(struct hashfile *file, const struct position *position,
			   struct extent extent)
{
	uint32_t lock_page = page_lock_number(MAX(extent.page_size, PAGE_SIZE_MIN));

	le64_put(file->map + H_POSITION, position->generation);
	le64_put(file->map + H_POSITION + 8, position->txid);
	le64_put(file->map + H_POSITION + 16, position->checksum);
	le32_put(file->map + H_PAGE_SIZE, extent.page_size);
	le32_put(file->map + H_PAGES, extent.n_pages);
	/* No transaction writes that page: another page size may have left something. */
	if (extent.n_pages >= lock_page)
		hashfile_set(file, lock_page, 0);
}

bool hashfile_clean(const struct hashfile *file, struct evidence *ret_evidence)
{
	_Static_assert(sizeof(struct evidence) == H_EVIDENCE_LEN, "evidence is stored as it is");
	const uint8_t *at = file->map + H_EVIDENCE;

	*ret_evidence = (struct evidence){
		.inode = le64_get(at),
		.size = le64_get(at + 8),
		.mtime_ns = (int64_t)le64_get(at + 16),
		.head_hash = le64_get(at + 24),
		.wal_size = le64_get(at + 32),
		.wal_mtime_ns = (int64_t)le64_get(at + 40),
		.wal_head_hash = le64_get(at + 48),
	};
	return le32_get(file->map + H_CLEAN) != 0;
}

static int sync_range(struct hashfile *file, size_t len, struct error *err)
{
	if (msync(file->map, len, MS_SYNC) < 0)
		return error_set_errno(err, errno, "cannot sync the page hashes");
	return 0;
}

int hashfile_mark_dirty(struct hashfile *file, struct error *err)
{
	if (le32_get(file->map + H_CLEAN) == 0)
		return 0;
	le32_put(file->map + H_CLEAN, 0);
	return sync_range(file, HEAD_LEN, err);
}

int hashfile_mark_clean(struct hashfile *file, const struct evidence *evidence, struct error *err)
{
	uint8_t *at = file->map + H_EVIDENCE;
	int r = sync_range(file, HEAD_LEN + file->capacity * 8, err);

	if (r < 0)
		return r;
	le64_put(at, evidence->inode);
	le64_put(at + 8, evidence->size);
	le64_put(at + 16, (uint64_t)evidence->mtime_ns);
	le64_put(at + 24, evidence->head_hash);
	le64_put(at + 32, evidence->wal_size);
	le64_put(at + 40, (uint64_t)evidence->wal_mtime_ns);
	le64_put(at + 48, evidence->wal_head_hash);
	le32_put(file->map + H_CLEAN, 1);
	le64_put(file->map + H_HASH, hash64(file->map, H_HASH, 0));
	return sync_range(file, HEAD_LEN, err);
}
