/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_WAL_TAIL_H
#define REPLICATE_WAL_TAIL_H

#include "base/error.h"
#include "replicate/record.h"
#include "replicate/wal.h"
#include "replicate/walmap.h"

#include <stdbool.h>

/*
 * Follows one database's WAL: how far it has been captured, and how far SQLite
 * has published it.
 *
 * A commit is what SQLite has published in the WAL-index. Where that cannot be
 * seen (exclusive locking, a -shm in the page cache of the mount, nobody has it
 * open) the commit frame is the commit, judged as SQLite's recovery does.
 *
 * The engine is fed at barriers. A checkpoint announces itself by truncating the
 * database before any writer may restart the WAL; there everything published is
 * captured, and `announced` remembers it, but for a transaction that is not known
 * to be published and not in the database either. A restart with captured != announced,
 * a published end that went back, or a captured frame that changed means that
 * something went past us: TAIL_SUSPECT, and the caller compares all pages.
 */

/* The frames of one transaction, and the headers of the first and the last. */
struct wal_span {
	uint32_t first;
	uint32_t last;
	uint8_t first_head[WAL_FRAME_HEADER_LEN];
	uint8_t last_head[WAL_FRAME_HEADER_LEN];
};

/* How far the WAL with one pair of salts has been captured. */
struct wal_tail_state {
	uint32_t salt1;
	uint32_t salt2;
	uint32_t captured;  /* frames */
	uint32_t announced; /* captured at the last barrier that may precede a restart */
	struct wal_span end; /* the transaction that ends in frame `captured`, if that is not 0 */
};

/*
 * Frames outside the checksum chain: to undo a savepoint SQLite (3.40.1 to 3.49.2)
 * may leave zero salts in frames that its live connections go on reading; whoever
 * recovers the WAL drops them and all behind them.
 *
 * Invariants: 1. page_size 0 = no WAL is followed, captured is 0 and map empty.
 * 2. map holds the newest of frames 1 … captured of each page, or is empty and
 * the database file has them all.
 * Owned by its database, under whose mutex all of it is used.
 */
struct wal_tail {
	int fd;	      /* X-wal, or -1 */
	int index_fd; /* X-shm, or -1 */
	uint32_t page_size;
	struct wal_tail_state now;
	struct wal_tail_state previous; /* of the salts before, if captured is not 0 */
	struct walmap map;
	bool synced;	    /* the WAL was synced since the last truncation of the database */
	bool outside;	    /* captured what SQLite's recovery would drop: see below */
	unsigned n_odd;	    /* looks, up to 2, since nBackfill is beyond mxFrame */
};

enum tail_news {
	TAIL_NOTHING,	/* captured is all there is */
	TAIL_FRAMES,	/* frames up to ret_target have been committed */
	TAIL_SUSPECT,	/* history went past us: compare all pages */
};

void wal_tail_init(struct wal_tail *tail);
void wal_tail_done(struct wal_tail *tail);

/* Closes both files; what has been captured is remembered. */
void wal_tail_close_files(struct wal_tail *tail);

/* Closes the index alone: it is nobody's any more. */
void wal_tail_close_index(struct wal_tail *tail);

/*
 * Looks how far the WAL goes. use_index: the WAL-index is trustworthy (a client
 * has it open, and its bytes are visible). Notices restarts and begins following
 * the new salts. ret_unannounced is set when a restart came without a
 * barrier. <0: the files cannot be read, or hold what is not SQLite's.
 */
int wal_tail_look(struct wal_tail *tail, bool use_index, uint32_t *ret_target,
		  bool *ret_unannounced, struct error *err) MUST_CHECK;

/* The frames up to end->last have been captured. */
void wal_tail_advance(struct wal_tail *tail, const struct wal_span *end);

/* Whether a frame is outside the checksum chain, by its salts. */
bool wal_tail_frame_outside(const struct wal_tail *tail, const struct wal_frame *frame);

/* The WAL was emptied or removed by SQLite: nothing is followed any more. */
void wal_tail_reset(struct wal_tail *tail);

/*
 * Follows from a mark of the log on, as after a restart of the daemon. 0: the
 * WAL holds the mark's frame, captured is set to it and the map is rebuilt from
 * the frames before, with hashes by hash_of; or the mark is of no WAL or of other
 * salts, all of this one is new, and captured is 0; or there is no WAL to follow. 1:
 * it has the mark's salts but does not hold its frame, or SQLite's recovery would
 * drop that: compare all pages, captured is 0. verify: the machine has crashed, so
 * that the frames' pages must be read too. -errno: nothing is followed, or captured
 * is 0.
 */
int wal_tail_resume(struct wal_tail *tail, const struct wal_mark *mark, bool verify,
		    uint64_t (*hash_of)(void *arg, uint32_t pgno), void *arg,
		    struct error *err) MUST_CHECK;

/* Where the last captured frame stands, for the log. */
struct wal_mark wal_tail_mark(const struct wal_tail *tail);

/* Reads the page of a frame into page. 0; 1 = the file ends before. */
int wal_tail_read_page(const struct wal_tail *tail, uint32_t frame, uint8_t *page,
		       struct error *err) MUST_CHECK;

/* Reads a frame's header. 0; 1 = the file ends before. */
int wal_tail_read_head(const struct wal_tail *tail, uint32_t frame, uint8_t *bytes,
		       struct error *err) MUST_CHECK;

/* Whether a frame with the same salts follows the captured ones. */
bool wal_tail_goes_on(const struct wal_tail *tail);

/*
 * Whether, behind the captured frames, the WAL goes on with frames that SQLite
 * has cut out of the checksum chain though it reads them: only to be
 * asked where the commit frame is the commit, at a truncation of the database.
 */
bool wal_tail_chain_broken(const struct wal_tail *tail);

#endif
